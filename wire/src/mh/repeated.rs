//! Mobility options that may stand several times in one message.
//!
//! Read first: RFC 3963 s.4.3; RFC 5648 s.4.3, 6.2; RFC 6089 s.4.2, 5.3.2.
//!
//! An option of these that is not as its RFC says makes an [`Err`] item and leaves the message as
//! it is: RFC 3963, 5648 and 6089 answer it with a status, which a message that was dropped whole
//! would not get.

use core::fmt;
use core::slice;

use super::option::next_option;
use super::writer::Writer;

/// An option that may stand several times in one message.
pub trait RepeatedOption<'a>: Copy + sealed::Emit + 'a {
    /// What is known of an option that is not as its RFC says.
    type Malformed: fmt::Debug + Copy + PartialEq;

    /// Option Type.
    const OPTION_TYPE: u8;

    /// Reads the data of one option.
    ///
    /// # Errors
    /// A wrong length, or a value that the field can't have.
    fn parse(data: &'a [u8]) -> Result<Self, Self::Malformed>;
}

pub(super) mod sealed {
    use super::Writer;

    /// Writing is the module's own affair.
    pub trait Emit {
        /// Writes the option, aligned.
        fn emit(&self, writer: &mut Writer<'_>) -> Option<()>;
    }
}

/// All options of one type, as they stand in a message that was received or as values to be sent.
pub enum Repeated<'a, T> {
    /// All options of a message, those of other types among them. They were walked once, so that
    /// each ends where it says.
    Wire(&'a [u8]),
    /// Values.
    List(&'a [T]),
}

impl<'a, T: RepeatedOption<'a>> Repeated<'a, T> {
    /// The options in their order.
    #[must_use]
    pub fn iter(self) -> Items<'a, T> {
        match self {
            Self::Wire(options) => Items::Wire(options),
            Self::List(values) => Items::List(values.iter()),
        }
    }

    /// Whether there is none, malformed ones counted.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Writes the options that are not malformed.
    pub(super) fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        self.iter().flatten().try_for_each(|option| option.emit(writer))
    }
}

impl<T> Clone for Repeated<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Repeated<'_, T> {}

impl<T> Default for Repeated<'_, T> {
    fn default() -> Self {
        Self::List(&[])
    }
}

impl<'a, T: RepeatedOption<'a> + PartialEq> PartialEq for Repeated<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: RepeatedOption<'a> + Eq> Eq for Repeated<'a, T> {}

impl<'a, T: RepeatedOption<'a> + fmt::Debug> fmt::Debug for Repeated<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: RepeatedOption<'a>> IntoIterator for Repeated<'a, T> {
    type Item = Result<T, T::Malformed>;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

/// The options of [`Repeated::iter`].
#[derive(Debug, Clone)]
pub enum Items<'a, T> {
    /// What is left of the message's options.
    Wire(&'a [u8]),
    /// What is left of the values.
    List(slice::Iter<'a, T>),
}

impl<'a, T: RepeatedOption<'a>> Iterator for Items<'a, T> {
    type Item = Result<T, T::Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(values) => values.next().copied().map(Ok),
            Self::Wire(options) => loop {
                let (option_type, data) = next_option(options).ok().flatten()?;
                if option_type == T::OPTION_TYPE {
                    return Some(T::parse(data));
                }
            },
        }
    }
}

/// Identifiers of 16 bits one behind the other: Binding IDs (RFC 6089 s.4.2.1.3), Flow Identifiers
/// (RFC 6089 s.4.2.2).
#[derive(Clone, Copy)]
pub enum Ids<'a> {
    /// As on the wire.
    Wire(&'a [[u8; 2]]),
    /// Values.
    List(&'a [u16]),
}

impl<'a> Ids<'a> {
    /// The identifiers in `octets`; `None` where there is none, or half a one.
    pub(super) const fn parse(octets: &'a [u8]) -> Option<Self> {
        match octets.as_chunks() {
            ([], _) | (_, [_, ..]) => None,
            (ids, []) => Some(Self::Wire(ids)),
        }
    }

    /// The identifiers in their order.
    pub fn iter(self) -> impl Iterator<Item = u16> + use<'a> {
        let (wire, list): (&[[u8; 2]], &[u16]) = match self {
            Self::Wire(ids) => (ids, &[]),
            Self::List(ids) => (&[], ids),
        };
        wire.iter().map(|id| u16::from_be_bytes(*id)).chain(list.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Wire(ids) => ids.len(),
            Self::List(ids) => ids.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Writes the length in octets and the identifiers.
    pub(super) fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[u8::try_from(self.len() * 2).ok()?])?;
        self.iter().try_for_each(|id| writer.put(&id.to_be_bytes()))
    }
}

impl Default for Ids<'_> {
    fn default() -> Self {
        Self::List(&[])
    }
}

impl PartialEq for Ids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Ids<'_> {}

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
