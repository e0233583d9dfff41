//! The few words that the form alone does not tell.

/// The longest of the words below that are compared without regard to case.
const KNOWN_BYTES_MAX: usize = 12;

/// The word in lower case, with its length; nothing for words that are too long to be known.
fn lower(word: &[u8]) -> Option<([u8; KNOWN_BYTES_MAX], usize)> {
    let mut lower = [0; KNOWN_BYTES_MAX];
    if word.len() > KNOWN_BYTES_MAX {
        return None;
    }
    for (lower, byte) in lower.iter_mut().zip(word) {
        *lower = byte.to_ascii_lowercase();
    }
    Some((lower, word.len()))
}

/// Names with a digit in them that are words of the trade and not identifiers.
fn is_trade_word(word: &[u8]) -> bool {
    let Some((lower, len)) = lower(word) else { return false };
    matches!(
        &lower[..len],
        b"auth0"
            | b"base64"
            | b"bzip2"
            | b"db2"
            | b"dhcp6"
            | b"e2e"
            | b"ec2"
            | b"ed25519"
            | b"ext3"
            | b"ext4"
            | b"h2"
            | b"http2"
            | b"i18n"
            | b"ieee1394"
            | b"imap4"
            | b"int32"
            | b"int64"
            | b"ipv4"
            | b"ipv6"
            | b"k8s"
            | b"l10n"
            | b"l2tp"
            | b"latin1"
            | b"log4j"
            | b"md5"
            | b"mp3"
            | b"mp4"
            | b"neo4j"
            | b"oauth2"
            | b"p2p"
            | b"pop3"
            | b"python3"
            | b"route53"
            | b"s3"
            | b"sha1"
            | b"sha256"
            | b"sha512"
            | b"ssh2"
            | b"sslv3"
            | b"uint64"
            | b"utf8"
            | b"x509"
            | b"x86"
    )
}

/// No word with a digit in it is longer.
const WORD_BYTES_MAX: usize = 24;

/// Is this word with digits one that names a thing of its own kind (`ssh2`, `utf8`), or one with a single digit
/// between letters, as in `flush2DB`?
pub(super) fn is_word_with_digits(word: &[u8]) -> bool {
    if word.len() > WORD_BYTES_MAX || !word[0].is_ascii_alphabetic() || word.contains(&b'<') {
        return false;
    }
    if is_trade_word(word) {
        return true;
    }
    let mut digits = word.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    let (Some((place, _)), None) = (digits.next(), digits.next()) else { return false };
    place >= 2
        && place + 2 < word.len()
        && word.iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit())
}

/// A unit, a zone or half of the day that belongs to the number before it.
pub(super) fn is_unit(word: &[u8]) -> bool {
    matches!(
        word,
        b"B" | b"K"
            | b"M"
            | b"G"
            | b"T"
            | b"KB"
            | b"kB"
            | b"kb"
            | b"MB"
            | b"Mb"
            | b"mb"
            | b"GB"
            | b"gb"
            | b"TB"
            | b"PB"
            | b"KiB"
            | b"MiB"
            | b"GiB"
            | b"TiB"
            | b"ns"
            | b"us"
            | b"ms"
            | b"s"
            | b"sec"
            | b"secs"
            | b"msec"
            | b"usec"
            | b"min"
            | b"mins"
            | b"hr"
            | b"hrs"
            | b"Hz"
            | b"kHz"
            | b"MHz"
            | b"GHz"
            | b"AM"
            | b"PM"
            | b"am"
            | b"pm"
            | b"UTC"
            | b"GMT"
            | b"CET"
            | b"CEST"
            | b"CST"
            | b"CDT"
            | b"EST"
            | b"EDT"
            | b"MST"
            | b"MDT"
            | b"PST"
            | b"PDT"
            | b"BST"
            | b"IST"
            | b"JST"
    )
}

/// What stands before the path of a request.
pub(super) fn is_http_method(word: &[u8]) -> bool {
    matches!(word, b"GET" | b"HEAD" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" | b"OPTIONS")
}

/// The short names of months and days of the week.
pub(super) fn is_calendar(word: &[u8]) -> bool {
    matches!(
        word,
        b"Jan"
            | b"Feb"
            | b"Mar"
            | b"Apr"
            | b"May"
            | b"Jun"
            | b"Jul"
            | b"Aug"
            | b"Sep"
            | b"Oct"
            | b"Nov"
            | b"Dec"
            | b"Mon"
            | b"Tue"
            | b"Wed"
            | b"Thu"
            | b"Fri"
            | b"Sat"
            | b"Sun"
    )
}

/// Is the value of this key what the message says, so that it is kept as text?
pub(super) fn is_speaking(key: &[u8]) -> bool {
    let may_be = key.len() >= 3
        && matches!(key[0] | 0x20, b'c' | b'd' | b'e' | b'l' | b'm' | b'r' | b's' | b't' | b'w');
    let Some((lower, len)) = (if may_be { lower(key) } else { None }) else { return false };
    matches!(
        &lower[..len],
        b"caller"
            | b"cause"
            | b"desc"
            | b"description"
            | b"detail"
            | b"details"
            | b"err"
            | b"error"
            | b"errormessage"
            | b"event"
            | b"exception"
            | b"level"
            | b"log"
            | b"logger"
            | b"loglevel"
            | b"lvl"
            | b"message"
            | b"method"
            | b"msg"
            | b"reason"
            | b"severity"
            | b"summary"
            | b"text"
            | b"title"
            | b"warning"
    )
}

/// Labels that end the names of hosts, and begin those of packages.
fn is_top_level(label: &[u8]) -> bool {
    matches!(
        label,
        b"com"
            | b"net"
            | b"org"
            | b"edu"
            | b"gov"
            | b"mil"
            | b"int"
            | b"io"
            | b"info"
            | b"biz"
            | b"local"
            | b"internal"
            | b"lan"
            | b"localdomain"
            | b"arpa"
            | b"cloud"
    )
}

/// Countries whose two letters are no common ending of a file.
fn is_country(label: &[u8]) -> bool {
    matches!(
        label,
        b"ar"
            | b"at"
            | b"au"
            | b"be"
            | b"br"
            | b"ca"
            | b"ch"
            | b"cl"
            | b"cn"
            | b"co"
            | b"cz"
            | b"de"
            | b"dk"
            | b"es"
            | b"eu"
            | b"fi"
            | b"fr"
            | b"gr"
            | b"hk"
            | b"hu"
            | b"ie"
            | b"il"
            | b"in"
            | b"ir"
            | b"it"
            | b"jp"
            | b"kr"
            | b"mx"
            | b"my"
            | b"nl"
            | b"no"
            | b"nz"
            | b"pt"
            | b"ro"
            | b"ru"
            | b"se"
            | b"sg"
            | b"sk"
            | b"th"
            | b"tr"
            | b"tw"
            | b"ua"
            | b"uk"
            | b"us"
            | b"vn"
            | b"za"
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
