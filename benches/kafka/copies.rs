//! A recording without an end: copies of it, one after the other.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::input::Request;

/// Spans that begin in a second of stream time.
pub const EVENT_RATE: u64 = 2_000;

/// What differs from copy to copy of a span, in the order in which it is encoded: the first bytes of the trace id, when it
/// began, and when it ended.
const ID_BYTES: usize = 4;
const TIME_BYTES: usize = 8;

/// A span in the bytes of its request.
struct Place {
    /// Where the trace id is, when it began, and when it ended.
    id: usize,
    started: usize,
    ended: usize,
    /// As which span of the recording it began.
    rank: u64,
    duration_ns: u64,
}

/// A request, and where its spans are in it.
struct Template {
    body: Vec<u8>,
    places: Vec<Place>,
}

/// Copies of all requests.
pub struct Copies {
    templates: Vec<Template>,
    /// When the first span begins.
    begin_ns: u64,
    spans: u64,
}

fn spans_of(request: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut Span> {
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

impl Template {
    /// A request whose spans began as these of all.
    fn new(mut request: ExportTraceServiceRequest, ranks: &[u64]) -> Self {
        let durations: Vec<u64> = spans_of(&mut request)
            .map(|span| span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano))
            .collect();
        // Times of events would have to move with the spans; no view here reads them.
        spans_of(&mut request).for_each(|span| span.events.clear());
        let mut encoded = |byte: u8| {
            spans_of(&mut request).for_each(|span| {
                span.trace_id[..ID_BYTES].fill(byte);
                span.start_time_unix_nano = u64::from_le_bytes([byte; TIME_BYTES]);
                span.end_time_unix_nano = span.start_time_unix_nano;
            });
            request.encode_to_vec()
        };
        // They are the bytes in which two such requests differ. (A time of zero would be left out.)
        let (body, other) = (encoded(1), encoded(2));
        let differing: Vec<usize> = (0..body.len()).filter(|place| body[*place] != other[*place]).collect();
        let of_spans = differing.chunks_exact(ID_BYTES + 2 * TIME_BYTES);
        assert_eq!(of_spans.len(), durations.len(), "each span has an id and times");
        let place = |((bytes, duration_ns), rank): ((&[usize], u64), &u64)| Place {
            id: bytes[0],
            started: bytes[ID_BYTES],
            ended: bytes[ID_BYTES + TIME_BYTES],
            rank: *rank,
            duration_ns,
        };
        let places = of_spans.zip(durations).zip(ranks).map(place).collect();
        Template { body, places }
    }
}

impl Copies {
    /// Of `requests`, which hold spans.
    pub fn new(requests: &[Request]) -> Self {
        let decoded = requests.iter().map(|one| ExportTraceServiceRequest::decode(one.body.clone()).unwrap());
        let mut decoded: Vec<ExportTraceServiceRequest> = decoded.collect();
        let started: Vec<u64> =
            decoded.iter_mut().flat_map(spans_of).map(|span| span.start_time_unix_nano).collect();
        let mut order: Vec<usize> = (0..started.len()).collect();
        order.sort_by_key(|place| started[*place]);
        let mut ranks = vec![0; started.len()];
        (0..).zip(&order).for_each(|(rank, place)| ranks[*place] = rank);
        let mut rest = &ranks[..];
        let template = |mut request: ExportTraceServiceRequest| {
            let (own, behind) = rest.split_at(spans_of(&mut request).count());
            rest = behind;
            Template::new(request, own)
        };
        let templates = decoded.into_iter().map(template).collect();
        Copies { templates, begin_ns: started[order[0]], spans: started.len() as u64 }
    }

    /// All requests again and again, without an end; each with how many spans it has.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
        let copies_of_all =
            move |number| self.templates.iter().map(move |one| (one.places.len(), self.copy(one, number)));
        (0..).flat_map(copies_of_all)
    }

    fn copy(&self, template: &Template, number: u32) -> Vec<u8> {
        let mut body = template.body.clone();
        for place in &template.places {
            let begun = u64::from(number) * self.spans + place.rank;
            let started_ns = self.begin_ns + begun * (1_000_000_000 / EVENT_RATE);
            let ended_ns = started_ns + place.duration_ns;
            body[place.id..place.id + ID_BYTES].copy_from_slice(&number.to_be_bytes());
            body[place.started..place.started + TIME_BYTES].copy_from_slice(&started_ns.to_le_bytes());
            body[place.ended..place.ended + TIME_BYTES].copy_from_slice(&ended_ns.to_le_bytes());
        }
        body
    }
}
