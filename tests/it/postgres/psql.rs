//! psql as a new user tries it, and psycopg.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use super::span;
use crate::in_process::InProcess;
use crate::python;
use crate::server::{Server, eventually};

fn psql(address: std::net::SocketAddr, extra: &str) -> Command {
    let mut command = Command::new(python::psql());
    command
        .arg("-X")
        .arg(format!("host=127.0.0.1 port={} dbname=undercurrent user=ann {extra}", address.port()));
    command.stdin(Stdio::null());
    command
}

/// What psql prints for `commands`, one after the other; all must work.
fn prints(running: &InProcess, commands: &[&str]) -> String {
    let mut command = psql(running.postgres(), "");
    command.args(["-A", "-t", "-v", "ON_ERROR_STOP=1"]).args(commands.iter().flat_map(|c| ["-c", *c]));
    let output = command.output().expect("psql");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_there_is_can_be_listed_and_described() {
    let running = InProcess::start(&[]);
    // A built-in view is there once it is named.
    prints(&running, &["SELECT * FROM service_dependencies"]);
    let tables = prints(&running, &["\\dt"]);
    assert!(tables.contains("public|spans|table|undercurrent"), "{tables}");
    let views = prints(&running, &["\\dm"]);
    assert!(views.contains("public|service_dependencies|materialized view|undercurrent"), "{views}");
    let spans = prints(&running, &["\\d spans"]);
    for column in [
        "trace_id|text||not null|",
        "started_at|timestamp with time zone||not null|",
        "attributes|json||not null|",
    ] {
        assert!(spans.contains(column), "{spans}");
    }
    let graph = prints(&running, &["\\d service_dependencies"]);
    assert!(graph.contains("source_service|text") && graph.contains("call_count|bigint"), "{graph}");
    let databases = prints(&running, &["\\l"]);
    assert!(databases.starts_with("undercurrent|undercurrent|UTF-8"), "{databases}");
    assert_eq!(prints(&running, &["\\dn"]), "public|undercurrent\n");
    for command in
        ["\\d", "\\dv", "\\df", "\\du", "\\dT", "\\di", "\\d+ spans", "\\dt+", "\\conninfo", "\\l+"]
    {
        let mut command_line = psql(running.postgres(), "");
        let output = command_line.args(["-c", command]).output().expect("psql");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!error.contains("ERROR"), "{command}: {error}");
    }
}

#[test]
fn a_continuous_query_is_created_watched_subscribed_to_and_dropped() {
    let running = InProcess::start(&[]);
    let create = "CREATE MATERIALIZED VIEW v AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1";
    assert_eq!(prints(&running, &[create]), "CREATE MATERIALIZED VIEW\n");
    for n in 1..4 {
        running.append("spans", &[span("cart", n)]);
        eventually(|| prints(&running, &["SELECT * FROM v"]), |rows| *rows == format!("cart|{n}\n"));
    }
    let mut command = psql(running.postgres(), "");
    command.args(["-c", "COPY (SUBSCRIBE TO v) TO STDOUT"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut subscriber = command.spawn().expect("psql");
    let open = "SELECT value::bigint FROM engine_metrics WHERE name = 'undercurrent_subscriptions' AND labels LIKE '%postgres%'";
    eventually(|| prints(&running, &[open]), |rows| rows == "1\n");
    running.append("spans", &[span("cart", 4)]);
    eventually(|| prints(&running, &["SELECT * FROM v"]), |rows| rows == "cart|4\n");
    let (output, error) = interrupt(&mut subscriber);
    let lines: Vec<&str> =
        output.lines().filter_map(|line| line.split_once('\t')).map(|(_, row)| row).collect();
    assert!(lines.contains(&"1\tcart\t3"), "{output}");
    assert!(error.contains("canceling statement due to user request"), "{error}");
    eventually(|| prints(&running, &[open]), |rows| rows == "0\n");
    assert_eq!(prints(&running, &["DROP MATERIALIZED VIEW v"]), "DROP VIEW\n");
}

/// Presses Ctrl-C; what psql printed, to both outputs.
fn interrupt(child: &mut Child) -> (String, String) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().expect("kill").success());
    child.wait().expect("an end");
    let (mut output, mut error) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    (output, error)
}

#[test]
fn tls_is_spoken_where_it_is_configured_and_nothing_else_is() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let flags = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start(&flags);
    let address = server.address("postgres");
    let run = |mode: &str| {
        let output =
            psql(address, &format!("sslmode={mode}")).args(["-Atc", "SELECT 1"]).output().expect("psql");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run("require"), (true, "1\n".to_owned(), String::new()));
    let (is_served, _, error) = run("disable");
    assert!(!is_served && error.contains("this server takes connections with TLS alone"), "{error}");
}

#[test]
fn tables_are_created_filled_from_a_file_and_described() {
    let running = InProcess::start(&[]);
    let create = "CREATE TABLE owners (service text, level int NOT NULL DEFAULT 1 + 1, team varchar(9), PRIMARY KEY (service, level))";
    assert_eq!(prints(&running, &[create]), "CREATE TABLE\n");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("owners.csv");
    std::fs::write(&path, "service,team\nweb,front\ncart,\n").unwrap();
    let copy = format!("\\copy owners (service, team) FROM '{}' WITH (FORMAT csv, HEADER)", path.display());
    assert_eq!(prints(&running, &[&copy]), "COPY 2\n");
    assert_eq!(
        prints(&running, &["UPDATE owners SET level = 3 WHERE team IS NULL RETURNING service"]),
        "cart\nUPDATE 1\n"
    );
    assert_eq!(prints(&running, &["SELECT * FROM owners ORDER BY 1"]), "cart|3|\nweb|2|front\n");
    assert_eq!(
        prints(&running, &["BEGIN; DELETE FROM owners; ROLLBACK; SELECT count(*) FROM owners"]),
        "BEGIN\nDELETE 2\nROLLBACK\n2\n"
    );
    let described = prints(&running, &["\\d owners"]);
    for line in [
        "service|text||not null|\n",
        "level|integer||not null|1 + 1\n",
        "team|text|||\n",
        "\"owners_pkey\" PRIMARY KEY, btree (service, level)\n",
    ] {
        assert!(described.contains(line), "{described}");
    }
    let tables = prints(&running, &["\\dt"]);
    assert!(tables.contains("public|owners|table|") && !tables.contains("owners_pkey"), "{tables}");
    assert!(prints(&running, &["\\di"]).contains("public|owners_pkey|index|"));
    let keys = "SELECT column_name FROM information_schema.key_column_usage WHERE table_name = 'owners' ORDER BY ordinal_position";
    assert_eq!(prints(&running, &[keys]), "service\nlevel\n");
    let columns = "SELECT column_name, column_default, character_maximum_length, is_nullable FROM information_schema.columns WHERE table_name = 'owners' ORDER BY ordinal_position";
    assert_eq!(prints(&running, &[columns]), "service|||NO\nlevel|1 + 1||NO\nteam||9|YES\n");
}

#[test]
fn psycopg_changes_tables_as_its_users_expect() {
    let running = InProcess::start(&[]);
    let port = running.postgres().port().to_string();
    assert_eq!(python::script("psycopg_tables.py", &[port]), "done\n");
}

#[test]
fn psycopg_works_as_its_users_expect() {
    let running = InProcess::start(&[]);
    running.append("spans", &[span("cart", 1)]);
    eventually(|| prints(&running, &["SELECT count(*) FROM spans"]), |rows| rows == "1\n");
    let port = running.postgres().port().to_string();
    assert_eq!(python::script("psycopg_session.py", &[port]), "done\n");
}
