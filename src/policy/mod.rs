//! Which endpoints a packet may reach. Pure.
