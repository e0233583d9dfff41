//! The few words that the form alone does not tell.

/// Names with a digit in them that are words of the trade and not identifiers.
const WITH_DIGITS: [&str; 44] = [
    "3d", "auth0", "base64", "bzip2", "db2", "dhcp6", "e2e", "ec2", "ed25519", "ext3", "ext4", "h2", "http2", "i18n",
    "ieee1394", "imap4", "int32", "int64", "ipv4", "ipv6", "k8s", "l10n", "l2tp", "latin1", "log4j", "md5", "mp3",
    "mp4", "neo4j", "oauth2", "p2p", "pop3", "python3", "route53", "s3", "sha1", "sha256", "sha512", "ssh2", "sslv3",
    "uint64", "utf8", "x509", "x86",
];

/// Is this word with digits one that names a thing of its own kind (`ssh2`, `utf8`), or one with a single digit
/// between letters, as in `flush2DB`?
pub(super) fn is_word_with_digits(word: &[u8]) -> bool {
    if word.len() > 24 || !word[0].is_ascii_alphabetic() && !word.eq_ignore_ascii_case(b"3d") {
        return false;
    }
    if word.len() <= 8 && WITH_DIGITS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())) {
        return true;
    }
    let mut digits = word.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    let (Some((place, _)), None) = (digits.next(), digits.next()) else { return false };
    place >= 2 && place + 2 < word.len() && word.iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit())
}

/// A unit, a zone or half of the day that belongs to the number before it.
pub(super) fn is_unit(word: &[u8]) -> bool {
    matches!(
        word,
        b"B" | b"b" | b"k" | b"K" | b"M" | b"G" | b"T" | b"KB" | b"kB" | b"kb" | b"MB" | b"Mb" | b"mb" | b"GB" | b"gb"
            | b"TB" | b"PB" | b"KiB" | b"MiB" | b"GiB" | b"TiB" | b"ns" | b"us" | b"ms" | b"s" | b"sec" | b"secs"
            | b"msec" | b"usec" | b"min" | b"mins" | b"h" | b"hr" | b"hrs" | b"Hz" | b"kHz" | b"MHz" | b"GHz" | b"AM"
            | b"PM" | b"am" | b"pm" | b"UTC" | b"GMT" | b"CET" | b"CEST" | b"CST" | b"CDT" | b"EST" | b"EDT" | b"MST"
            | b"MDT" | b"PST" | b"PDT" | b"BST" | b"IST" | b"JST"
    )
}

/// The short names of months and days of the week.
pub(super) fn is_calendar(word: &[u8]) -> bool {
    matches!(
        word,
        b"Jan" | b"Feb" | b"Mar" | b"Apr" | b"May" | b"Jun" | b"Jul" | b"Aug" | b"Sep" | b"Oct" | b"Nov" | b"Dec"
            | b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun"
    )
}

/// Keys whose values are what the message says, and are kept as text.
const SPEAKING: [&str; 26] = [
    "caller", "cause", "desc", "description", "detail", "details", "err", "error", "errormessage", "event",
    "exception", "level", "log", "logger", "loglevel", "lvl", "message", "method", "msg", "reason", "severity",
    "status_text", "summary", "text", "title", "warning",
];

/// Is the value of this key kept as text?
pub(super) fn is_speaking(key: &[u8]) -> bool {
    (2..=12).contains(&key.len()) && SPEAKING.iter().any(|known| key.eq_ignore_ascii_case(known.as_bytes()))
}

/// Labels that end the names of hosts, and begin those of packages.
fn is_top_level(label: &[u8]) -> bool {
    matches!(
        label,
        b"com" | b"net" | b"org" | b"edu" | b"gov" | b"mil" | b"int" | b"io" | b"info" | b"biz" | b"local" | b"internal"
            | b"lan" | b"localdomain" | b"arpa" | b"cloud"
    )
}

/// Countries whose two letters are no common ending of a file.
fn is_country(label: &[u8]) -> bool {
    matches!(
        label,
        b"ar" | b"at" | b"au" | b"be" | b"br" | b"ca" | b"ch" | b"cl" | b"cn" | b"co" | b"cz" | b"de" | b"dk" | b"es"
            | b"eu" | b"fi" | b"fr" | b"gr" | b"hk" | b"hu" | b"ie" | b"il" | b"in" | b"ir" | b"it" | b"jp" | b"kr"
            | b"mx" | b"my" | b"nl" | b"no" | b"nz" | b"pt" | b"ro" | b"ru" | b"se" | b"sg" | b"sk" | b"th" | b"tr"
            | b"tw" | b"ua" | b"uk" | b"us" | b"vn" | b"za"
    )
}

/// Does this name of lower-case labels with dots between end as that of a host, and not begin as that of a package?
pub(super) fn is_host(name: &[u8]) -> bool {
    let mut labels = name.split(|byte| *byte == b'.');
    let (Some(first), Some(last)) = (labels.next(), labels.next_back()) else { return false };
    let between = labels.count();
    !is_top_level(first)
        && !matches!(first, b"java" | b"javax" | b"jdk" | b"sun" | b"android")
        && (is_top_level(last) || between > 0 && is_country(last))
}
