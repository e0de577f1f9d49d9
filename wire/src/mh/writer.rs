//! Messages and options written octet by octet.

use super::option::option_type;

/// Writes octets one behind the other; `None` where they do not fit.
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Octets written.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Overwrites the octet at `place`, which has been written.
    pub(crate) fn set(&mut self, place: usize, octet: u8) -> Option<()> {
        *self.out.get_mut(..self.len)?.get_mut(place)? = octet;
        Some(())
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// One option of a fixed length.
    pub(crate) fn option<const N: usize>(&mut self, option_type: u8, data: &[u8; N]) -> Option<()> {
        self.put(&[option_type, u8::try_from(N).ok()?])?;
        self.put(data)
    }

    /// Pads to an offset of `modulus`n+`offset` from the start of the message, `modulus` being 8
    /// at most, with Pad1 or one PadN (RFC 6275 s.6.2.2, 6.2.3).
    /// The sub-options of RFC 6089 s.4.2.1 have the same padding.
    pub(crate) fn align(&mut self, modulus: usize, offset: usize) -> Option<()> {
        let count = (modulus + offset - self.len % modulus) % modulus;
        match u8::try_from(count).ok()? {
            0 => Some(()),
            1 => self.put(&[option_type::PAD1]),
            octets => {
                self.put(&[option_type::PAD_N, octets - 2])?;
                self.put([0; 6].get(..count - 2)?)
            }
        }
    }
}
