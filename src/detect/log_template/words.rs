//! The few words that the form alone does not tell.

/// Words that are compared without regard to case. Most words that are asked for are not among them, which their first
/// and last letter and their length tell.
struct Known {
    words: &'static [&'static str],
    /// By the last five bits of the first letter: bit `n` where there is a word of `n` bytes.
    by_first: [u16; 32],
    /// The same by the last letter.
    by_last: [u16; 32],
}

impl Known {
    /// `words`: in lower case and no longer than 15 bytes.
    const fn new(words: &'static [&'static str]) -> Self {
        let (mut by_first, mut by_last) = ([0; 32], [0; 32]);
        let mut index = 0;
        while index < words.len() {
            let word = words[index].as_bytes();
            by_first[(word[0] & 31) as usize] |= 1 << word.len();
            by_last[(word[word.len() - 1] & 31) as usize] |= 1 << word.len();
            index += 1;
        }
        Known { words, by_first, by_last }
    }

    fn contains(&self, word: &[u8]) -> bool {
        let ([first, ..], [.., last]) = (word, word) else { return false };
        let lengths = self.by_first[usize::from(first & 31)] & self.by_last[usize::from(last & 31)];
        word.len() < 16
            && lengths >> word.len() & 1 != 0
            && self.words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
    }
}

/// Names with a digit in them that are words of the trade and not identifiers.
static TRADE_WORDS: Known = Known::new(&[
    "auth0", "base64", "bzip2", "db2", "dhcp6", "e2e", "ec2", "ed25519", "ext3", "ext4", "h2", "http2",
    "i18n", "ieee1394", "imap4", "int32", "int64", "ipv4", "ipv6", "k8s", "l10n", "l2tp", "latin1", "log4j",
    "md5", "mp3", "mp4", "neo4j", "oauth2", "p2p", "pop3", "python3", "route53", "s3", "sha1", "sha256",
    "sha512", "ssh2", "sslv3", "uint64", "utf8", "x509", "x86",
]);
/// Keys whose value is what the message says, the most frequent ones first.
static SPEAKING_KEYS: Known = Known::new(&[
    "msg",
    "message",
    "level",
    "error",
    "caller",
    "cause",
    "desc",
    "description",
    "detail",
    "details",
    "err",
    "errormessage",
    "event",
    "exception",
    "log",
    "logger",
    "loglevel",
    "lvl",
    "method",
    "reason",
    "severity",
    "summary",
    "text",
    "title",
    "warning",
]);

/// No word with a digit in it is longer.
const WORD_BYTES_MAX: usize = 24;

/// Is this word with digits one that names a thing of its own kind (`ssh2`, `utf8`), or one with a single digit
/// between letters, as in `flush2DB`?
pub(super) fn is_word_with_digits(word: &[u8]) -> bool {
    if word.len() > WORD_BYTES_MAX || !word[0].is_ascii_alphabetic() {
        return false;
    }
    if TRADE_WORDS.contains(word) {
        return true;
    }
    let mut digits = word.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    let (Some((place, _)), None) = (digits.next(), digits.next()) else { return false };
    place >= 2
        && place + 2 < word.len()
        && word.iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit())
        && !word.contains(&b'<')
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
#[inline]
pub(super) fn is_speaking(key: &[u8]) -> bool {
    SPEAKING_KEYS.contains(key)
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
