//! What the conversions of messages share.

use forebay_crds::k8s::Time;
use forebay_crds::k8s::jiff::Timestamp;

use crate::InvalidMessage;

const NANOS: i128 = 1_000_000_000;

/// A point in time as protobuf has it: nanoseconds count upwards, also before 1970.
pub(crate) fn to_timestamp(time: &Time) -> prost_types::Timestamp {
    let nanos = time.0.as_nanosecond();
    #[expect(clippy::cast_possible_truncation, reason = "jiff's years end at 9999, and a remainder of 10^9 fits 32 bits")]
    prost_types::Timestamp { seconds: nanos.div_euclid(NANOS) as i64, nanos: nanos.rem_euclid(NANOS) as i32 }
}

pub(crate) fn to_time(field: &'static str, stamp: prost_types::Timestamp) -> Result<Time, InvalidMessage> {
    let nanos = i128::from(stamp.seconds) * NANOS + i128::from(stamp.nanos);
    let time = Timestamp::from_nanosecond(nanos).map_err(|error| InvalidMessage::new(field, error.to_string()))?;
    Ok(Time(time))
}

/// Converts every element.
pub(crate) fn all<A, B: TryFrom<A>>(list: Vec<A>) -> Result<Vec<B>, B::Error> {
    list.into_iter().map(B::try_from).collect()
}

/// Converts every element of a list that cannot fail.
pub(crate) fn every<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(B::from).collect()
}
