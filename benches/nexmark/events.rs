//! The events of Nexmark as record batches of its three tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};

/// The tables, as the queries read them.
pub const TABLES: [(&str, &str); 3] = [
    (
        "person",
        "id BIGINT, name TEXT, email_address TEXT, credit_card TEXT, city TEXT, state TEXT, date_time TIMESTAMP(3), \
         extra TEXT",
    ),
    (
        "auction",
        "id BIGINT, item_name TEXT, description TEXT, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), \
         expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra TEXT",
    ),
    (
        "bid",
        "auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, date_time TIMESTAMP(3), extra TEXT",
    ),
];

/// When the first event happens: 2026-01-01, in milliseconds since 1970 UTC.
pub const BEGIN_MS: u64 = 1_767_225_600_000;

/// Events one after the other, the same in every run: one person and three auctions to 46 bids.
///
/// `per_second`: events in a second of event time.
pub fn events(per_second: usize) -> EventGenerator {
    let rates = NexmarkConfig { first_rate: per_second, next_rate: per_second, ..NexmarkConfig::default() };
    EventGenerator::new(NexmarkConfig { base_time: BEGIN_MS, ..rates })
}

/// `events` as rows, by table; tables without any are left out.
pub fn batches(events: &[Event]) -> Vec<(&'static str, RecordBatch)> {
    let (mut people, mut auctions, mut bids) = (vec![], vec![], vec![]);
    for event in events {
        match event {
            Event::Person(person) => people.push(person),
            Event::Auction(auction) => auctions.push(auction),
            Event::Bid(bid) => bids.push(bid),
        }
    }
    let all =
        [("person", people_rows(&people)), ("auction", auction_rows(&auctions)), ("bid", bid_rows(&bids))];
    all.into_iter().filter(|(_, rows)| rows.num_rows() > 0).collect()
}

fn people_rows(rows: &[&Person]) -> RecordBatch {
    batch([
        ("id", numbers(rows, |r| r.id)),
        ("name", texts(rows, |r| &r.name)),
        ("email_address", texts(rows, |r| &r.email_address)),
        ("credit_card", texts(rows, |r| &r.credit_card)),
        ("city", texts(rows, |r| &r.city)),
        ("state", texts(rows, |r| &r.state)),
        ("date_time", times(rows, |r| r.date_time)),
        ("extra", texts(rows, |r| &r.extra)),
    ])
}

fn auction_rows(rows: &[&Auction]) -> RecordBatch {
    batch([
        ("id", numbers(rows, |r| r.id)),
        ("item_name", texts(rows, |r| &r.item_name)),
        ("description", texts(rows, |r| &r.description)),
        ("initial_bid", numbers(rows, |r| r.initial_bid)),
        ("reserve", numbers(rows, |r| r.reserve)),
        ("date_time", times(rows, |r| r.date_time)),
        ("expires", times(rows, |r| r.expires)),
        ("seller", numbers(rows, |r| r.seller)),
        ("category", numbers(rows, |r| r.category)),
        ("extra", texts(rows, |r| &r.extra)),
    ])
}

fn bid_rows(rows: &[&Bid]) -> RecordBatch {
    batch([
        ("auction", numbers(rows, |r| r.auction)),
        ("bidder", numbers(rows, |r| r.bidder)),
        ("price", numbers(rows, |r| r.price)),
        ("channel", texts(rows, |r| &r.channel)),
        ("url", texts(rows, |r| &r.url)),
        ("date_time", times(rows, |r| r.date_time)),
        ("extra", texts(rows, |r| &r.extra)),
    ])
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

fn numbers<R>(rows: &[&R], value: impl Fn(&R) -> usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| value(row) as i64)))
}

fn texts<R>(rows: &[&R], value: impl Fn(&R) -> &String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(|row| value(row))))
}

fn times<R>(rows: &[&R], value: impl Fn(&R) -> u64) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| value(row) as i64)))
}
