use std::ops::Range;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        LAST_MODIFIED, RANGE,
    },
};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use super::{
    entity::Head,
    multipart::{Multipart, OVERHEAD, coalesced},
};

/// How much of a file answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it.
    Whole,
    /// These bytes of it; they exist.
    Part(Range<u64>),
    /// Several parts of it, in this order; they exist, and bytes lie between them.
    Parts(Vec<Range<u64>>),
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the client wants bytes that are not there.
    Unsatisfiable,
}

/// The most ranges that one request may have; zchunk asks for as many at once. Of more, the whole file costs less work.
const MAX_RANGES: usize = 256;

/// Reads a request for a file, by RFC 9110 §13.2.2 (order of the conditions) and §14.2 (ranges).
///
/// Ranges of a file whose length is not known yet are answered with all of it, which §14.2 allows and clients of archives take.
pub(super) fn decide(method: &Method, request: &HeaderMap, head: &Head, length: Option<u64>) -> Answer {
    if is_known(request, head) {
        return Answer::NotModified;
    }
    let range = text(request, RANGE).filter(|_| method == Method::GET && range_applies(request, head));
    match (range, length) {
        (Some(ranges), Some(length)) => read_ranges(ranges, length),
        _ => Answer::Whole,
    }
}

/// The status and headers of an answer, about the file of this name.
pub(super) fn headers(answer: &Answer, head: &Head, length: Option<u64>, name: &str) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: Option<&str>| {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    };
    set(ETAG, head.etag.as_deref());
    set(LAST_MODIFIED, head.last_modified.as_deref());
    set(ACCEPT_RANGES, Some("bytes"));
    let total = length.unwrap_or_default();
    let (status, content) = match answer {
        Answer::NotModified => return (StatusCode::NOT_MODIFIED, headers),
        Answer::Unsatisfiable => {
            set(CONTENT_RANGE, Some(&format!("bytes */{total}")));
            return (StatusCode::RANGE_NOT_SATISFIABLE, headers);
        }
        Answer::Part(part) => {
            set(CONTENT_RANGE, Some(&format!("bytes {}-{}/{total}", part.start, part.end - 1)));
            (StatusCode::PARTIAL_CONTENT, Some(part.end - part.start))
        }
        Answer::Parts(parts) => {
            let multipart = multipart(parts, head, total, name);
            set(CONTENT_TYPE, Some(&multipart.media_type()));
            set(CONTENT_LENGTH, Some(&multipart.length().to_string()));
            return (StatusCode::PARTIAL_CONTENT, headers);
        }
        Answer::Whole => (StatusCode::OK, length),
    };
    set(CONTENT_TYPE, Some(media_type(name, head)));
    set(CONTENT_LENGTH, content.map(|content| content.to_string()).as_deref());
    (status, headers)
}

/// The body of [`Answer::Parts`].
pub(super) fn multipart(parts: &[Range<u64>], head: &Head, total: u64, name: &str) -> Multipart {
    Multipart::new(parts, total, head, media_type(name, head))
}

/// What a file is: upstream's word, and where it has none what its name says.
fn media_type<'a>(name: &str, head: &'a Head) -> &'a str {
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
    let said = head.content_type.as_deref();
    match suffix.as_deref() {
        // QUIRK: edk2 takes a loader by this type, or by a suffix in lower case; archives have `BOOTX64.EFI`, and servers do not
        // know the type (UEFI 2.10 §24.7.3.1).
        Some("efi") => "application/efi",
        Some(suffix) => said.unwrap_or(match suffix {
            "deb" | "udeb" => "application/vnd.debian.binary-package",
            "rpm" => "application/x-rpm",
            "xml" => "application/xml",
            "gz" => "application/gzip",
            "xz" => "application/x-xz",
            "zst" => "application/zstd",
            _ => "application/octet-stream",
        }),
        None => said.unwrap_or("application/octet-stream"),
    }
}

/// RFC 9110 §13.1.2, §13.1.3: an ETag decides alone where one is given; it is compared weakly here.
fn is_known(request: &HeaderMap, head: &Head) -> bool {
    if let Some(known) = text(request, IF_NONE_MATCH) {
        let weak = |etag: &str| etag.trim().trim_start_matches("W/").to_owned();
        return head.etag.as_deref().is_some_and(|etag| known.split(',').any(|known| weak(known) == weak(etag)))
            || known.trim() == "*";
    }
    let known = text(request, IF_MODIFIED_SINCE).and_then(date);
    let modified = head.last_modified.as_deref().and_then(date);
    matches!((modified, known), (Some(modified), Some(known)) if modified <= known)
}

/// RFC 9110 §13.1.5: a range is of the version that the client has begun with, or it is no range.
fn range_applies(request: &HeaderMap, head: &Head) -> bool {
    text(request, IF_RANGE).is_none_or(|validator| {
        let strong = head.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong == Some(validator) || head.last_modified.as_deref() == Some(validator)
    })
}

/// `bytes=` and ranges. What is not that is ignored, as RFC 9110 §14.2 wants it; ranges that are not there count as not asked
/// for while others are.
fn read_ranges(text: &str, length: u64) -> Answer {
    let Some((unit, list)) = text.split_once('=') else { return Answer::Whole };
    // RFC 9110 §5.6.1.2: elements of a list may be empty.
    let asked: Vec<_> = list.split(',').map(str::trim).filter(|range| !range.is_empty()).collect();
    if !unit.trim().eq_ignore_ascii_case("bytes") || asked.is_empty() || asked.len() > MAX_RANGES {
        return Answer::Whole;
    }
    let Some(ranges) = asked.iter().map(|range| read_range(range, length)).collect::<Option<Vec<_>>>() else {
        return Answer::Whole;
    };
    let mut parts = coalesced(ranges.into_iter().filter(|range| !range.is_empty()));
    let bytes: u64 = parts.iter().map(|part| part.end - part.start).sum();
    match parts.len() {
        0 => Answer::Unsatisfiable,
        1 if asked.len() == 1 || bytes < length => Answer::Part(parts.remove(0)),
        count if count > 1 && bytes + OVERHEAD * (count as u64) < length => Answer::Parts(parts),
        _ => Answer::Whole,
    }
}

/// `first-last`, `first-`, `-suffix`; empty if there are no such bytes, `None` if it is no range.
fn read_range(text: &str, length: u64) -> Option<Range<u64>> {
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    let (first, last) = text.split_once('-')?;
    Some(match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => first..length,
        (Some(first), Some(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return None,
    })
}

/// The date of RFC 9110 §5.6.7. Its two obsolete forms are not read: a client that sends one is served the file.
fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 15 Nov 2022 12:45:26 GMT";
    const EARLIER: &str = "Tue, 15 Nov 2022 12:45:25 GMT";
    const LATER: &str = "Wed, 16 Nov 2022 12:45:26 GMT";

    fn head() -> Head {
        Head { etag: Some("\"a\"".into()), last_modified: Some(DATE.into()), content_type: None }
    }

    fn request(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn ranges() {
        use Answer::{Part, Unsatisfiable, Whole};
        for (range, answer) in [
            ("bytes=0-", Part(0..100)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=10-19", Part(10..20)),
            ("bytes=99-", Part(99..100)),
            ("bytes=90-1000", Part(90..100)),
            ("bytes=90-18446744073709551615", Part(90..100)),
            ("bytes=-1", Part(99..100)),
            ("bytes=-1000", Part(0..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=20-10", Whole),
            ("Bytes = 0-0", Part(0..1)),
            ("bytes=,0-1, ,", Part(0..2)),
            ("bytes=0-9,10-19", Part(0..20)),
            ("bytes=0-9,100-", Part(0..10)),
            ("bytes=100-,200-", Unsatisfiable),
            ("bytes=0-49,50-99", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=0-1,x", Whole),
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-", Whole),
            ("lines=0-1", Whole),
        ] {
            let request = request(&[(RANGE, range)]);
            assert_eq!(decide(&Method::GET, &request, &head(), Some(100)), answer, "{range}");
            assert_eq!(decide(&Method::GET, &request, &head(), None), Whole, "{range} of an unknown length");
            assert_eq!(decide(&Method::HEAD, &request, &head(), Some(100)), Whole, "{range} of HEAD");
            let empty = decide(&Method::GET, &request, &head(), Some(0));
            assert!(!matches!(empty, Part(_)), "{range} of nothing");
        }
    }

    #[test]
    fn conditions() {
        for (headers, known) in [
            (vec![(IF_NONE_MATCH, "\"a\"")], true),
            (vec![(IF_NONE_MATCH, "\"b\", W/\"a\"")], true),
            (vec![(IF_NONE_MATCH, "*")], true),
            (vec![(IF_NONE_MATCH, "\"b\"")], false),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DATE)], false),
            (vec![(IF_MODIFIED_SINCE, DATE)], true),
            (vec![(IF_MODIFIED_SINCE, LATER)], true),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], false),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], false),
        ] {
            let request = request(&headers);
            let answer = decide(&Method::GET, &request, &head(), Some(100));
            assert_eq!(answer == Answer::NotModified, known, "{headers:?}");
            let nothing_known = decide(&Method::GET, &request, &Head::default(), Some(100)) == Answer::NotModified;
            assert_eq!(nothing_known, headers[0].1 == "*", "{headers:?} without validators");
        }
    }

    #[test]
    fn a_range_of_another_version_is_no_range() {
        for (validator, applies) in
            [("\"a\"", true), ("\"b\"", false), (DATE, true), (LATER, false), ("W/\"a\"", false)]
        {
            let request = request(&[(RANGE, "bytes=1-"), (IF_RANGE, validator)]);
            let answer = decide(&Method::GET, &request, &head(), Some(100));
            assert_eq!(answer, if applies { Answer::Part(1..100) } else { Answer::Whole }, "{validator}");
        }
    }

    #[test]
    fn headers_say_what_the_body_is() {
        let (status, part) = headers(&Answer::Part(10..20), &head(), Some(100), "x");
        assert_eq!(
            (status, &part[CONTENT_RANGE], &part[CONTENT_LENGTH]),
            (
                StatusCode::PARTIAL_CONTENT,
                &HeaderValue::from_static("bytes 10-19/100"),
                &HeaderValue::from_static("10")
            )
        );
        let (status, none) = headers(&Answer::Unsatisfiable, &head(), Some(100), "x");
        assert_eq!(
            (status, &none[CONTENT_RANGE]),
            (StatusCode::RANGE_NOT_SATISFIABLE, &HeaderValue::from_static("bytes */100"))
        );
        let (_, unknown) = headers(&Answer::Whole, &Head::default(), None, "x");
        assert!(!unknown.contains_key(CONTENT_LENGTH) && unknown[CONTENT_TYPE] == "application/octet-stream");
    }

    #[test]
    fn several_ranges() {
        let parts = |parts: &[Range<u64>]| Answer::Parts(parts.to_vec());
        let many =
            |count: u64| (0..count).map(|n| format!("{}-{}", n * 300, n * 300 + 9)).collect::<Vec<_>>().join(",");
        for (range, answer) in [
            ("bytes=0-9,100-199", parts(&[0..10, 100..200])),
            ("bytes=500-599, 0-9 ,-10", parts(&[500..600, 0..10, 99_990..100_000])),
            ("bytes=0-9,100-199,5-19,200000-", parts(&[0..20, 100..200])),
            ("bytes=0-9,11-99980", Answer::Whole),
            ("bytes=0-60000,60500-99999", parts(&[0..60_001, 60_500..100_000])),
        ] {
            let request = request(&[(RANGE, range)]);
            assert_eq!(decide(&Method::GET, &request, &head(), Some(100_000)), answer, "{range}");
            assert_eq!(decide(&Method::GET, &request, &head(), None), Answer::Whole, "{range} of an unknown length");
            let mut other = request.clone();
            other.insert(IF_RANGE, HeaderValue::from_static("\"b\""));
            assert_eq!(
                decide(&Method::GET, &other, &head(), Some(100_000)),
                Answer::Whole,
                "{range} of another version"
            );
        }
        for (count, expected) in [(256, true), (257, false)] {
            let text = format!("bytes={}", many(count));
            let request = [(RANGE, HeaderValue::from_str(&text).expect("a value"))].into_iter().collect();
            let answer = decide(&Method::GET, &request, &head(), Some(100_000));
            assert_eq!(matches!(answer, Answer::Parts(parts) if parts.len() == 256), expected, "{count}");
        }
        let (status, headers) = headers(&parts(&[0..10, 20..30]), &head(), Some(100), "x.deb");
        let boundary = headers[CONTENT_TYPE].to_str().expect("text").strip_prefix("multipart/byteranges; boundary=");
        assert!(boundary.is_some_and(|boundary| boundary.bytes().all(|byte| byte.is_ascii_alphanumeric())));
        assert!(status == StatusCode::PARTIAL_CONTENT && !headers.contains_key(CONTENT_RANGE));
    }

    #[test]
    fn upstream_says_what_a_file_is_but_for_what_firmware_takes() {
        let said =
            |content_type: Option<&str>| Head { content_type: content_type.map(str::to_owned), ..Head::default() };
        for (name, upstream, expected) in [
            ("EFI/BOOT/BOOTX64.EFI", Some("application/octet-stream"), "application/efi"),
            ("shimx64.efi", None, "application/efi"),
            ("pool/x.deb", Some("application/x-debian-package"), "application/x-debian-package"),
            ("pool/x.deb", None, "application/vnd.debian.binary-package"),
            ("repodata/primary.xml.zst", None, "application/zstd"),
            ("dists/trixie/InRelease", None, "application/octet-stream"),
            ("dists/trixie/InRelease", Some("text/plain"), "text/plain"),
        ] {
            assert_eq!(media_type(name, &said(upstream)), expected, "{name} {upstream:?}");
        }
    }
}
