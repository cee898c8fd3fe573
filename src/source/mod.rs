//! The front door: streams of API objects or manifests, parsed once into [`crate::model`]'s words.
