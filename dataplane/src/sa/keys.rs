//! Key schedules as the crypto library wants them.

/// stub
#[repr(C, align(64))]
pub(crate) struct KeySchedule {
    cipher: [u8; 384],
    integrity: [u8; 64],
}
impl KeySchedule {
    pub(crate) fn wipe(&mut self) {
        self.cipher = [0; 384];
        self.integrity = [0; 64];
    }
}
