//! Whether a RADIUS server answers (RFC 2865, RFC 3579, RFC 5997).

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::SECRET;
use crate::Process;

/// What a server is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// Status-Server, for those that know it.
    Status,
    /// The EAP identity of nobody.
    Access,
}

/// Waits until the server at the other end of this socket answers (any answer will do). It must
/// neither end nor take longer than 20 seconds.
pub(super) fn await_answer(
    socket: &UdpSocket,
    question: Question,
    process: &mut Process,
    log: &Path,
) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let request = request(question);
    let begun = Instant::now();
    loop {
        let mut buffer = [0; 4096];
        // Refused as long as nobody listens.
        if let Ok(len) = socket.send(&request).and_then(|_| socket.recv(&mut buffer)) {
            judge(&buffer[..len], &request[4..20]);
            return;
        }
        let ended = process.0.try_wait().unwrap();
        if ended.is_some() || begun.elapsed() > Duration::from_secs(20) {
            panic!("does not start ({ended:?}):\n{}", fs::read_to_string(log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Message-Authenticator first, User-Name, and EAP-Message where it is an Access-Request.
fn request(question: Question) -> Vec<u8> {
    let (code, eap): (u8, &[u8]) = match question {
        Question::Status => (12, b""),
        Question::Access => (1, b"\x4f\x0d\x02\x01\x00\x0b\x01nobody"),
    };
    let attributes = [&[80, 18], &[0; 16][..], b"\x01\x08nobody", eap].concat();
    let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
    let mut octets = [&[code, 1, length[0], length[1]], &[7; 16][..], &attributes].concat();
    let hmac = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).unwrap();
    let authenticator = hmac.chain_update(&octets).finalize().into_bytes();
    octets[22..38].copy_from_slice(&authenticator);
    octets
}

/// RFC 2865 s.3: MD5(Code | ID | Length | RequestAuth | Attributes | Secret).
fn judge(answer: &[u8], request_authenticator: &[u8]) {
    assert!(answer.len() >= 20, "{answer:02x?}");
    let digest = Md5::new().chain_update(&answer[..4]).chain_update(request_authenticator);
    let digest = digest.chain_update(&answer[20..]).chain_update(SECRET).finalize();
    assert_eq!(answer[4..20], digest[..], "Response Authenticator");
}
