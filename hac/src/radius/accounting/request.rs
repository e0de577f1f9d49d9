//! Accounting-Requests.
//!
//! Read first: RFC 2866 s.4.1, 5; RFC 2869 s.5.

use super::ledger::{Cause, Event, Record};
use crate::radius::attribute::{
    ACCT_AUTHENTIC, ACCT_DELAY_TIME, ACCT_SESSION_ID, ACCT_SESSION_TIME, ACCT_STATUS_TYPE,
    ACCT_TERMINATE_CAUSE, CALLING_STATION_ID, CLASS, DELEGATED_IPV6_PREFIX, EVENT_TIMESTAMP,
    FRAMED_IP_ADDRESS, FRAMED_IPV6_ADDRESS, HOME_LMA_IPV6_ADDRESS, NAS_IDENTIFIER, NAS_PORT,
    NAS_PORT_TYPE, USER_NAME,
};
use crate::radius::client::VIRTUAL;
use crate::radius::packet::{Code, Request, TooLong};

/// That this HAC begins or ends to account for anything at all (RFC 2866 s.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    On,
    Off,
}

/// The Accounting-Request that says so, of `at` and sent at `now`.
pub(super) fn of_whole(
    whole: Whole,
    nas_identifier: &str,
    at: u64,
    now: u64,
) -> Result<Request, TooLong> {
    let mut request = Request::new(Code::AccountingRequest);
    let status = match whole {
        Whole::On => 7,
        Whole::Off => 8,
    };
    request.put_number(ACCT_STATUS_TYPE, status)?;
    // RFC 2866 s.5.13: every Accounting-Request has one.
    request.put(ACCT_SESSION_ID, b"0")?;
    request.put(NAS_IDENTIFIER, nas_identifier.as_bytes())?;
    request.put_number(EVENT_TIMESTAMP, seconds(at))?;
    request.put_number(ACCT_DELAY_TIME, seconds(now.saturating_sub(at)))?;
    Ok(request)
}

/// The Accounting-Request of a record that is sent at `now`.
pub(super) fn of(record: &Record, nas_identifier: &str, now: u64) -> Result<Request, TooLong> {
    let Record { event, at, account, traffic } = record;
    let mut request = Request::new(Code::AccountingRequest);
    let status = match event {
        Event::Start => 1,
        Event::Stop(_) => 2,
        Event::Interim => 3,
    };
    request.put_number(ACCT_STATUS_TYPE, status)?;
    request.put(ACCT_SESSION_ID, account.session_id.as_bytes())?;
    request.put(USER_NAME, account.mn_id.as_str().as_bytes())?;
    request.put(NAS_IDENTIFIER, nas_identifier.as_bytes())?;
    request.put_number(NAS_PORT_TYPE, VIRTUAL)?;
    request.put_number(NAS_PORT, account.spi.get())?;
    request.put_number(EVENT_TIMESTAMP, seconds(*at))?;
    request.put_number(ACCT_DELAY_TIME, seconds(now.saturating_sub(*at)))?;
    request.put(FRAMED_IPV6_ADDRESS, &account.home_address.octets())?;
    if let Some(address) = account.ipv4_home_address {
        request.put(FRAMED_IP_ADDRESS, &address.octets())?;
    }
    request.put(HOME_LMA_IPV6_ADDRESS, &account.home_agent.octets())?;
    for prefix in &account.prefixes {
        let value = [&[0, prefix.prefix_len()][..], &prefix.network().octets()].concat();
        request.put(DELEGATED_IPV6_PREFIX, &value)?;
    }
    // RFC 2866 s.5.6: 1 = RADIUS, 2 = Local.
    request.put_number(ACCT_AUTHENTIC, if account.authorised.is_some() { 1 } else { 2 })?;
    // Where the mobile node is; before it has registered, where it was when it was authenticated.
    let from = account.authorised.as_ref().map(|authorised| authorised.from);
    if let Some(from) = traffic.care_of.or(from) {
        let from = from.to_canonical().to_string();
        request.put(CALLING_STATION_ID, from.as_bytes())?;
    }
    if let Some(authorised) = &account.authorised {
        authorised.class.iter().try_for_each(|class| request.put(CLASS, class))?;
    }
    if let (Some(begun), Event::Interim | Event::Stop(_)) = (account.begun, event) {
        request.put_number(ACCT_SESSION_TIME, seconds(at.saturating_sub(begun)))?;
    }
    if !matches!(event, Event::Start) {
        traffic.put(&mut request)?;
    }
    if let Event::Stop(cause) = event {
        let cause = match cause {
            Cause::SessionTimeout => 5,
            Cause::AdminReset => 6,
            Cause::NasRequest => 10,
        };
        request.put_number(ACCT_TERMINATE_CAUSE, cause)?;
    }
    Ok(request)
}

fn seconds(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
