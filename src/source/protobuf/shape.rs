//! What the fields of a message are called.

/// A message: the fields of it that count.
#[derive(Debug)]
pub(crate) struct Shape(pub(crate) &'static [Field]);

/// A field: its number in `generated.proto` of k8s.io/api, and its name in JSON.
#[derive(Debug)]
pub(crate) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// Whether it is `repeated`.
    pub(super) many: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// `string`. An empty one is absent, as `omitempty` has it in JSON: Go writes all strings that are no pointers.
    Text,
    /// `bytes`, left as they are.
    Raw,
    /// `bool`.
    Flag,
    /// `int32` or `int64`. Zero is absent, for the same reason.
    Number,
    /// A message.
    Object(&'static Shape),
    /// `map<string, string>`.
    Words,
    /// `meta.v1.Time`: RFC 3339 text in JSON.
    Time,
}

/// A field that stands once.
pub(crate) const fn one(number: u32, name: &'static str, form: Form) -> Field {
    Field { number, name, form, many: false }
}

/// A repeated field.
pub(crate) const fn many(number: u32, name: &'static str, form: Form) -> Field {
    Field { number, name, form, many: true }
}

impl Shape {
    /// The place and the field of this number.
    pub(super) fn field(&self, number: u32) -> Option<(usize, &'static Field)> {
        self.0.iter().enumerate().find(|(_, field)| field.number == number)
    }
}
