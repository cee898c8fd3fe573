//! Collects what could not be used of one object.

use std::fmt::Display;

use crate::model::{ObjectKind, Rejection};

use super::lenient::Lenient;

/// The rejections of one object, in the order in which its fields were read.
pub(crate) struct Findings<'a> {
    kind: ObjectKind,
    object: &'a dyn Display,
    list: Vec<Rejection>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet about `object`.
    pub(crate) fn new(kind: ObjectKind, object: &'a dyn Display) -> Self {
        Findings { kind, object, list: Vec::new() }
    }

    /// Notes that `field` cannot be used.
    pub(crate) fn reject(&mut self, field: impl Display, reason: impl Into<String>) {
        let (field, reason) = (field.to_string(), reason.into());
        self.list.push(Rejection { kind: self.kind, object: self.object.to_string(), field, reason });
    }

    /// The value, if it was given and good. A bad one is noted, with what follows from that.
    pub(crate) fn take<T>(&mut self, value: Lenient<T>, field: impl Display, consequence: &str) -> Option<T> {
        match value {
            Lenient::Absent => None,
            Lenient::Good(value) => Some(value),
            Lenient::Bad(complaint) => {
                self.reject(field, format!("{complaint}; {consequence}"));
                None
            }
        }
    }

    /// The items of a list that are good, each with its place. Bad ones are noted as `field[place]`.
    pub(crate) fn items<T>(
        &mut self,
        list: Lenient<Vec<Lenient<T>>>,
        field: &str,
        consequence: &str,
    ) -> Vec<(usize, T)> {
        let list = self.take(list, field, "the list is taken as empty").unwrap_or_default();
        let mut good = Vec::with_capacity(list.len());
        for (place, item) in list.into_iter().enumerate() {
            good.extend(self.take(item, format_args!("{field}[{place}]"), consequence).map(|item| (place, item)));
        }
        good
    }

    /// A port number, if it is one. Others are noted.
    pub(crate) fn port(&mut self, number: i64, field: impl Display, consequence: &str) -> Option<u16> {
        match u16::try_from(number) {
            Ok(port) if port > 0 => Some(port),
            _ => {
                self.reject(field, format!("{number} is not a port (1 to 65535); {consequence}"));
                None
            }
        }
    }

    /// All that was noted.
    pub(crate) fn done(self) -> Vec<Rejection> {
        self.list
    }
}
