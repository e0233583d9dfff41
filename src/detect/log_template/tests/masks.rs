//! What each form becomes.

use super::*;

#[test]
fn numbers_with_sign_unit_and_per_cent() {
    check(&[
        ("took 12 of 15", "took <*> of <*>"),
        ("at -1.5 or +3e-7", "at <*> or <*>"),
        ("used 80% in 1,234,567 calls", "used <*> in <*> calls"),
        ("sent 5.2 MB at 10MB/s in 3 ms.", "sent <*> at <*> in <*>."),
        ("sent 5.2 MB/s in 3 parts", "sent <*> in <*> parts"),
        ("offset 0x1F, code deadbeef, mask cafe", "offset <*>, code <*>, mask cafe"),
        ("the 3rd of #17", "the <*> of #<*>"),
    ]);
}

#[test]
fn dates_and_times() {
    check(&[
        ("2024-01-31T10:20:30.123Z started", "<*> started"),
        ("2024-01-31 10:20:30,123 +0100 started", "<*> started"),
        ("on Sat May 04 09:51:52 CST 2013 at noon", "on <*> at noon"),
        ("on Sun, 06 Nov 1994 08:49:37 GMT at noon", "on <*> at noon"),
        ("May I sit down, Jan?", "May I sit down, Jan?"),
    ]);
    assert_eq!(template(" May I sit down?"), "May I sit down?");
}

#[test]
fn addresses_and_hosts() {
    check(&[
        ("from 10.250.10.6:50010 to /10.250.10.7:50010", "from <*> to <*>"),
        ("10.250.10.6:50010:Got exception", "<*>:Got exception"),
        ("peer fe80::1ff:fe23:4567:890a mac 00:1a:2b:cd:ef:ab", "peer <*> mac <*>"),
        ("lookup ns.example.com [10.0.0.1] failed", "lookup <*> [<*>] failed"),
        ("open proxy.example.ac.uk:5070, then web-3.prod:80", "open <*>, then web-<*>"),
        ("mail to jane.doe@example.org bounced", "mail to <*> bounced"),
        ("loading java.io or com.example.health", "loading java.io or com.example.health"),
    ]);
}

#[test]
fn identifiers_keep_what_is_before_the_first_digit() {
    check(&[
        ("block blk_-1608999687919862906 on node-12-a", "block blk_<*> on node-<*>"),
        ("attempt_1445_0020_m_000000_0 of thread12", "attempt_<*> of <*>"),
        ("generating core.3456", "generating core.<*>"),
        ("R02-M1-N0-C:J12-U11 is down", "<*> is down"),
        ("4d3f2a10-1b2c-4d5e-8f90-a1b2c3d4e5f6 is down", "<*> is down"),
        ("at Foo.java:17 in a.b.Server$Worker@1b2c3d", "at Foo.java:<*> in a.b.Server$Worker@<*>"),
        ("version v2.6.5-rc1, HTTP/1.1", "version <*>, HTTP/<*>"),
    ]);
}

#[test]
fn words_with_digits_that_are_words() {
    check(&[
        ("jk2_init() over ssh2 with UTF8 and x86", "jk2_init() over ssh2 with UTF8 and x86"),
        ("flush2DB log4j sha256:12ab", "flush2DB log4j sha256:<*>"),
    ]);
}

#[test]
fn paths_and_urls() {
    check(&[
        ("open /etc/httpd/conf/a.properties: denied", "open <*>: denied"),
        ("run ./a.out in ../b and ~/c.sh.", "run <*> in <*> and <*>."),
        (r"load C:\Windows\x.dll and HKLM\Software\A", "load <*> and <*>"),
        ("GET http://a.example/b?c=d&e=1,2 done", "GET <*> done"),
        ("connect jdbc:mysql://db:3306/app", "connect jdbc:<*>"),
        ("\"GET / HTTP/1.1\" 200", "\"GET <*> HTTP/<*>\" <*>"),
        ("read / write and/or input/output", "read / write and/or input/output"),
    ]);
}

#[test]
fn quoted_text() {
    check(&[
        ("stop 'hlt' and \"abc\"", "stop '<*>' and \"<*>\""),
        ("said \"no such file 17\" and \"\"", "said \"no such file <*>\" and \"<*>\""),
        ("Can't find child, couldn't kill it", "Can't find child, couldn't kill it"),
        ("an \"open quote", "an \"open quote"),
    ]);
}

#[test]
fn keys_are_kept_and_values_masked() {
    check(&[
        ("user=anna uid=0 tty= rhost=", "user=<*> uid=<*> tty=<*> rhost=<*>"),
        ("size = 17, app = com.example.x", "size = <*>, app = <*>"),
        (
            "level=info msg=\"took 3 s\" err=\"not found\" path=/a/b q=\"a b\"",
            "level=info msg=\"took <*>\" err=\"not found\" path=<*> q=\"<*>\"",
        ),
        (
            "Food(name=Pork soup, store=Roman Holiday, msg=All is well)",
            "Food(name=<*>, store=<*>, msg=All is well)",
        ),
        ("Travel(trip=Trip(id=a, no=b), to=[x, y])", "Travel(trip=Trip(id=<*>, no=<*>), to=[<*>])"),
        ("if a == b or a <= c then d => e", "if a == b or a <= c then d => e"),
    ]);
}

#[test]
fn json_bodies() {
    check(&[
        (
            r#"{"level":"error","msg":"dial 10.1.2.3:80: refused","user":{"name":"Anna B","ids":[1,2,3]},"ok":true}"#,
            r#"{"level":"error","msg":"dial <*>: refused","user":{"name":"<*>","ids":[<*>]},"ok":<*>}"#,
        ),
        (r#"body {"a": null, "b": -1.5e3, "c": "x \" y"}"#, r#"body {"a": <*>, "b": <*>, "c": "<*>"}"#),
    ]);
}

#[test]
fn values_in_a_row_are_one() {
    check(&[
        ("delete blk_1 blk_2, blk_3", "delete blk_<*>"),
        ("ids 1, 2, 3 and [7] and [a, b, c]", "ids <*> and [<*>] and [<*>]"),
        ("status [preauth] of [not found, try again]", "status [preauth] of [not found, try again]"),
        ("all [A(x=1, y=2), A(x=3, y=4), A(x=5, y=6)] done", "all [A(x=<*>, y=<*>)] done"),
        ("all [A(x=1), B(x=3)] done", "all [A(x=<*>), B(x=<*>)] done"),
    ]);
    assert_eq!(parameters("delete blk_1 blk_2, blk_3 at 7"), ["1 blk_2, blk_3", "7"]);
}

#[test]
fn several_lines() {
    check(&[
        (
            "Request 17 failed\njava.io.IOException: reset\n\tat a.B.c(B.java:7)\n\t... 3 more\nCaused by: a.D: 8\n\tat e",
            "Request <*> failed java.io.IOException: reset Caused by: a.D: <*>",
        ),
        ("Traceback:\n  File \"a.py\", line 3\n    x()\nValueError: 7", "Traceback: ValueError: <*>"),
        ("{\n  \"a\": 1,\n  \"b\": \"c\"\n}", "{ \"a\": <*>, \"b\": \"<*>\" }"),
        ("  two\tblanks \r\n", "two blanks"),
        ("\u{1b}[31mred\u{1b}[0m alert\0", "red alert"),
    ]);
}

#[test]
fn text_outside_of_ascii_is_kept() {
    check(&[
        ("用户123登录 成功", "用户<*>登录 成功"),
        ("calculate time：0 naïve", "calculate time：<*> naïve"),
        ("name=日本 x", "name=<*> x"),
    ]);
}

#[test]
fn what_is_next_to_nothing() {
    check(&[("", ""), (" \n ", ""), ("-", "-"), ("=", "="), ("((", "(("), ("))", "))"), ("<*>", "<*>")]);
    assert_eq!(parameters("a=1 b = x7 'y'"), ["1", "x7", "y"]);
}
