//! Subscribers from the store and from watched files: with the operator's own commands, and a mobile
//! node in Python that shows what is in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod place;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_hac::config::Config;
use hearth_hac::subscribers::Source;
use hearth_wire::MobileNodeId;
use place::{PSK, Place, TEXT};

const OTHER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00112233445566778899aabbccddeeff";
const STORE: &str = "subscriber_store: {path: s.redb, key_file: wrap.key}\n";

/// A HAC with a store, and a key file of each name.
fn start(more: &str) -> Place {
    let folder = Place::folder();
    for (name, digits) in [("wrap.key", "11"), ("new.key", "22"), ("wrong.key", "33")] {
        fs::write(folder.path().join(name), digits.repeat(32)).unwrap();
    }
    fs::write(folder.path().join("psk"), format!("{OTHER}\n")).unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    Place::begin(folder, &format!("{STORE}{more}")).unwrap_or_else(|error| panic!("{error}"))
}

fn mn_id(text: &str) -> MobileNodeId {
    MobileNodeId::new(text).unwrap()
}

fn in_folder(place: &Place, name: &str) -> String {
    place.path(name).to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_does_is_in_force_at_once() {
    let place = start("");
    let psk = in_folder(&place, "psk");
    assert!(!place.bootstrap("new@example.net", OTHER).await.0);
    place.hearth(&["add", "new@example.net", "--psk-file", &psk]).await.unwrap();
    let (issued, text) = place.bootstrap("new@example.net", OTHER).await;
    assert!(issued, "{text}");
    assert!(!place.bootstrap("new@example.net", PSK).await.0);

    // Another key: made here, for its owner alone, and never said.
    let made = in_folder(&place, "made");
    place.hearth(&["set", "new@example.net", "--psk-generate", &made]).await.unwrap();
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&made).unwrap().trim().to_owned();
    assert_eq!(key.len(), 64);
    assert!(!place.bootstrap("new@example.net", OTHER).await.0);
    assert!(place.bootstrap("new@example.net", &key).await.0);
    for path in ["/v1/subscribers/list", "/v1/subscribers/export"] {
        let (status, shown) = place.post(path, "{\"count\": 10}").await;
        assert!(status == 200 && shown.contains("new@example.net"), "{shown}");
        assert!(!shown.contains(&key), "{path} shows the key");
    }

    // With a removal its SAs end.
    let (status, done) =
        place.post("/v1/subscribers/remove", "{\"mn_id\": \"new@example.net\"}").await;
    assert_eq!((status, done.as_str()), (200, "{\"subscribers\":1,\"revoked\":2,\"waiting\":0}"));
    assert!(!place.bootstrap("new@example.net", &key).await.0);
    // Nobody else is concerned.
    assert!(place.bootstrap("yaml@example.net", PSK).await.0);
    // A name that nobody has is a mistake, one that has no SA is none.
    for (name, status, words) in [
        ("gone@example.net", 404, "gone@example.net has no SA, and is no subscriber"),
        ("yaml@example.net", 200, "{\"revoked\":1}"),
        ("yaml@example.net", 200, "{\"revoked\":0}"),
    ] {
        let done = place.post("/v1/hac/revoke", &format!("{{\"mn_id\": \"{name}\"}}")).await;
        assert_eq!((done.0, done.1.as_str()), (status, words));
    }
}

/// A change that takes what SAs say ends them; one that counts from the next SA on does not.
#[tokio::test(flavor = "multi_thread")]
async fn sas_end_that_say_what_no_longer_holds() {
    let place = start("");
    let set = |values: &'static str| {
        let body = format!("{{\"mn_id\": \"a@example.net\", {values}}}");
        let place = &place;
        async move { place.post("/v1/subscribers/set", &body).await }
    };
    let psk = in_folder(&place, "psk");
    let prefix = "prefixes=2001:db8:200::/56";
    place.hearth(&["add", "a@example.net", prefix, "--psk-file", &psk]).await.unwrap();
    assert!(place.bootstrap("a@example.net", OTHER).await.0);
    let (_, kept) = set("\"sa_validity\": 3600").await;
    assert_eq!(kept, "{\"subscribers\":1,\"revoked\":0,\"waiting\":0}");
    let (_, gone) = set("\"prefixes\": null").await;
    assert_eq!(gone, "{\"subscribers\":1,\"revoked\":1,\"waiting\":0}");
    let found = place.hac.subscribers().find(&mn_id("a@example.net")).unwrap();
    assert_eq!((found.policy.sa_validity, found.services.prefixes.len()), (3600, 0));
}

/// An address that somebody has SAs with is not given to another one in silence.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_nobody_elses() {
    let place = start("");
    let psk = in_folder(&place, "psk");
    for name in ["a@example.net", "b@example.net"] {
        place.hearth(&["add", name, "--psk-file", &psk]).await.unwrap();
    }
    assert!(place.bootstrap("a@example.net", OTHER).await.0);
    let (_, leases) = place.post("/v1/hac/leases", "{\"count\": 10}").await;
    let rows: serde_json::Value = serde_json::from_str(&leases).unwrap();
    let lease = rows[0]["lease"].as_str().unwrap().split('/').next().unwrap().to_owned();
    let set = |name: &str| {
        let address = format!("\"home_address_ip6\": \"{lease}\"");
        let (place, body) = (&place, format!("{{\"mn_id\": \"{name}\", {address}}}"));
        async move { place.post("/v1/subscribers/set", &body).await }
    };
    let (status, words) = set("b@example.net").await;
    assert_eq!(status, 409, "{words}");
    let reason = format!("{lease} is leased to a@example.net (1 SA); give that one another");
    assert!(words.contains("home_address_ip6") && words.contains(&reason), "{words}");
    // Its own it may keep for good.
    assert_eq!(set("a@example.net").await.0, 200);
    place.post("/v1/subscribers/remove", "{\"mn_id\": \"a@example.net\"}").await;
    assert_eq!(set("b@example.net").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_changes_nothing() {
    let place = start("");
    let add = |body: String| {
        let place = &place;
        async move { place.post("/v1/subscribers/add", &body).await }
    };
    let with = |id: &str, more: &str| {
        format!("{{\"mn_id\": \"{id}\", \"psk\": {{\"hex\": \"{OTHER}\"}}{more}}}")
    };
    let network = with("a@example.net", ", \"prefixes\": [\"2001:db8:200::/56\"]");
    assert_eq!(add(network).await.0, 200);
    for (status, words, body) in [
        (409, "stands in the configuration", with("yaml@example.net", "")),
        (409, "is a subscriber already", with("a@example.net", "")),
        (
            409,
            "is taken by yaml@",
            with("b@example.net", ", \"home_address_ip6\": \"2001:db8:100::10\""),
        ),
        (409, "overlaps", with("b@example.net", ", \"prefixes\": [\"2001:db8:200:1::/64\"]")),
        (
            409,
            "overlaps the pool",
            with("b@example.net", ", \"prefixes\": [\"2001:db8:100::1000/118\"]"),
        ),
        (400, "mn_id: not a network", with("b@@example.net", "")),
        (400, "is out of range", with("b@example.net", ", \"sa_validity\": 1")),
        (400, "unknown key `speed`", with("b@example.net", ", \"speed\": 1")),
        (400, "psk: is missing", "{\"mn_id\": \"b@example.net\"}".into()),
        (400, "at least 16", with("b@example.net", "").replace(OTHER, "0001")),
        (400, "not hexadecimal", with("b@example.net", "").replace(OTHER, "xyz")),
        (400, "give it as", with("b@example.net", "").replace("hex", "file")),
        (400, "not as export wrote it", with("b@example.net", "").replace("hex", "sealed")),
        (400, "not a JSON object", "[".into()),
    ] {
        let (answered, text) = add(body.clone()).await;
        assert_eq!(answered, status, "{body}: {text}");
        assert!(text.contains(words), "{body}: {text}");
        assert!(!text.contains(OTHER), "{text}");
    }
    let (status, _) = place.post("/v1/subscribers/set", &with("b@example.net", "")).await;
    assert_eq!(status, 404);
    let unknown = place.hearth(&["remove", "b@example.net"]).await.unwrap_err();
    assert!(unknown.contains("is no subscriber of the store"), "{unknown}");
    assert_eq!(place.hac.subscribers().len(), 2);
    assert!(!place.bootstrap("b@example.net", OTHER).await.0);
}

/// Pre-shared keys are wrapped on disk, survive a restart, and open under their key alone.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_wrapped_and_the_wrapping_key_can_be_changed() {
    let place = start("");
    let psk = in_folder(&place, "psk");
    place.hearth(&["add", "a@example.net", "--psk-file", &psk]).await.unwrap();
    let folder = place.stop().await;
    let octets = fs::read(folder.path().join("s.redb")).unwrap();
    let key: Vec<u8> = (0xf0..=0xff).collect();
    assert!(!octets.windows(16).any(|window| window == key), "the key stands in the clear");
    assert!(!octets.windows(32).any(|window| window == &OTHER.as_bytes()[..32]));

    let with = |keys: &str| format!("subscriber_store: {{path: s.redb, {keys}}}\n");
    let Err((folder, error)) = Place::begin_or(folder, &with("key_file: wrong.key")) else {
        panic!("it started");
    };
    assert!(error.contains("a@example.net is wrapped by") && error.contains("key_file"), "{error}");
    let both = with("key_file: new.key, previous_key_file: wrap.key");
    let place = Place::begin(folder, &both).unwrap();
    assert!(place.bootstrap("a@example.net", OTHER).await.0);
    place.hearth(&["rewrap"]).await.unwrap();
    assert!(place.bootstrap("a@example.net", OTHER).await.0);
    let place = Place::begin(place.stop().await, &with("key_file: new.key")).unwrap();
    assert!(place.bootstrap("a@example.net", OTHER).await.0);
}

/// A backup that was made under the old key, imported while the key is being changed, needs the new key
/// alone from then on; without the old key the remedy is named.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_is_wrapped_anew_as_it_is_imported() {
    let place = start("");
    let psk = in_folder(&place, "psk");
    place.hearth(&["add", "a@example.net", "--psk-file", &psk]).await.unwrap();
    let backup = in_folder(&place, "backup");
    place.hearth(&["export", &backup]).await.unwrap();
    place.hearth(&["remove", "a@example.net"]).await.unwrap();
    let with = |keys: &str| format!("subscriber_store: {{path: s.redb, {keys}}}\n");
    let place = Place::begin(place.stop().await, &with("key_file: new.key")).unwrap();
    let error = place.hearth(&["import", &backup]).await.unwrap_err();
    assert!(error.contains("line 1: psk: is wrapped by another key"), "{error}");
    assert!(error.contains("previous_key_file"), "{error}");
    let both = with("key_file: new.key, previous_key_file: wrap.key");
    let place = Place::begin(place.stop().await, &both).unwrap();
    place.hearth(&["import", &backup]).await.unwrap();
    let place = Place::begin(place.stop().await, &with("key_file: new.key")).unwrap();
    assert!(place.bootstrap("a@example.net", OTHER).await.0);
}

/// Who is not in the store is changed elsewhere, and that is said; `set` of nothing is a mistake.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_hears_where_a_subscriber_is_changed() {
    let place = start("");
    for command in
        [&["set", "yaml@example.net", "max_lifetime=600"][..], &["remove", "yaml@example.net"]]
    {
        let error = place.hearth(command).await.unwrap_err();
        assert!(error.contains("change it there, then hearth hac reload"), "{error}");
    }
    let error = place.hearth(&["show", "b@example.net"]).await.unwrap_err();
    assert!(error.contains("no such subscriber: b@example.net"), "{error}");
    let psk = in_folder(&place, "psk");
    place.hearth(&["add", "b@example.net", "--psk-file", &psk]).await.unwrap();
    let error = place.hearth(&["set", "b@example.net"]).await.unwrap_err();
    assert!(error.contains("KEY=VALUE"), "{error}");
    place.hearth(&["show", "b@example.net"]).await.unwrap();
}

/// Who stands in the YAML too goes by its key there, whatever is done with the store's.
#[tokio::test(flavor = "multi_thread")]
async fn wrapping_anew_puts_no_key_of_the_store_in_force_that_was_not() {
    let place = start("");
    let psk = in_folder(&place, "psk");
    place.hearth(&["add", "a@example.net", "--psk-file", &psk]).await.unwrap();
    let keys = "subscriber_store: {path: s.redb, key_file: new.key, previous_key_file: wrap.key}\n";
    let text = TEXT.replace("yaml@example.net", "a@example.net") + keys;
    let place = Place::begin_with(place.stop().await, &text).unwrap();
    assert!(place.bootstrap("a@example.net", PSK).await.0);
    place.hearth(&["rewrap"]).await.unwrap();
    assert!(place.bootstrap("a@example.net", PSK).await.0);
    assert!(!place.bootstrap("a@example.net", OTHER).await.0);
}

/// A store that is full says so, keeps what it had, and nothing is half there.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_500_and_nothing_is_half_written() {
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    let disk = Disk::mount(&folder.path().join("disk"));
    let store = "subscriber_store: {path: disk/s.redb, key_file: wrap.key}\n";
    let place = Place::begin(folder, store).unwrap();
    let line = |name: &str| {
        format!("{{\"mn_id\": \"{name}@example.net\", \"psk\": {{\"hex\": \"{OTHER}\"}}}}\n")
    };
    assert_eq!(place.post("/v1/subscribers/add", &line("first")).await.0, 200);
    let many: String = (0..20_000).map(|number| line(&format!("n{number}"))).collect();
    let (status, text) = place.post("/v1/subscribers/import", &many).await;
    assert_eq!(status, 500, "{text}");
    assert_eq!(place.hac.subscribers().len(), 2);
    assert!(place.bootstrap("first@example.net", OTHER).await.0);
    // What fits is taken, and a restart finds that and nothing else.
    assert_eq!(place.post("/v1/subscribers/add", &line("second")).await.0, 200);
    let place = Place::begin(place.stop().await, store).unwrap();
    assert_eq!(place.hac.subscribers().len(), 3);
    assert!(place.bootstrap("second@example.net", OTHER).await.0);
    drop(place.stop().await);
    drop(disk);
}

/// A small file system, gone on drop.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(path)
            .status()
            .unwrap();
        assert!(mount.success());
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// 100,000 subscribers out and in again, the same octets; found at once; and quick enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_go_out_and_in() {
    const COUNT: usize = 100_000;
    let place = start("");
    let lines: String = (0..COUNT)
        .map(|number| {
            format!(
                "{{\"mn_id\":\"n{number:06}@example.net\",\"psk\":{{\"hex\":\"{number:032x}\"}},\
                 \"scope\":0}}\n"
            )
        })
        .collect();
    fs::write(place.path("in"), lines).unwrap();
    place.hearth(&["import", &in_folder(&place, "in")]).await.unwrap();
    assert_eq!(place.hac.subscribers().len(), COUNT + 1);
    let first = in_folder(&place, "first");
    place.hearth(&["export", &first]).await.unwrap();
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);

    let other = start("");
    other.hearth(&["import", &first]).await.unwrap();
    let again = in_folder(&other, "again");
    other.hearth(&["export", &again]).await.unwrap();
    // Keys are wrapped as they were: sealed lines are checked, and a wrap is not made twice alike.
    let names = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split("\"psk\"").next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first).len(), COUNT);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&again).unwrap());
    let (issued, text) = other.bootstrap("n054321@example.net", &format!("{:032x}", 54321)).await;
    assert!(issued, "{text}");
    let id = mn_id("n099999@example.net");
    let start = Instant::now();
    for _ in 0..1000 {
        assert!(other.hac.subscribers().find(&id).is_some());
    }
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    // A wrong line in the middle takes none.
    let wrong = format!("{{\"mn_id\":\"x@example.net\",\"psk\":{{\"hex\":\"{OTHER}\"}}}}\n{{}}\n");
    let (status, text) = other.post("/v1/subscribers/import", &wrong).await;
    assert!(status == 400 && text.contains("line 2: mn_id"), "{text}");
    assert!(other.hac.subscribers().find(&mn_id("x@example.net")).is_none());
}

/// Waits for `what`, which a watched file brings about.
async fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_files_are_in_force_when_they_change() {
    let place = start("subscriber_files: [d]\n");
    let known = place.hac.subscribers();
    let file = |names: &[&str]| -> String {
        let lines =
            names.iter().map(|name| format!("  - {{mn_id: {name}, psk: {{hex: '{OTHER}'}}}}\n"));
        format!("subscribers:\n{}", lines.collect::<String>())
    };
    let is_there = |name: &str| known.source(&mn_id(name)) == Some(Source::File);
    fs::write(place.path("d/one.yaml"), file(&["f1@example.net", "f2@example.net"])).unwrap();
    until(|| is_there("f1@example.net") && is_there("f2@example.net")).await;
    let (issued, text) = place.bootstrap("f1@example.net", OTHER).await;
    assert!(issued, "{text}");

    // Something wrong in one file leaves all as it was; so does one who stands elsewhere already.
    for wrong in [
        "subscribers: [",
        &file(&["yaml@example.net"]),
        &file(&["f3@example.net", "f1@example.net"]),
    ] {
        fs::write(place.path("d/two.yaml"), wrong).unwrap();
        let error = hearth_hac::subscribers::files::load(&place.hac.realm(), &[place.path("d")]);
        assert!(error.unwrap_err().contains("d/two.yaml"));
        assert!(is_there("f1@example.net") && is_there("f2@example.net"));
    }
    // A file that is replaced as editors do it.
    fs::write(place.path("d/two.tmp"), file(&["f3@example.net"])).unwrap();
    fs::rename(place.path("d/two.tmp"), place.path("d/two.yaml")).unwrap();
    until(|| is_there("f3@example.net")).await;
    fs::remove_file(place.path("d/one.yaml")).unwrap();
    until(|| !is_there("f1@example.net")).await;
    assert!(!place.bootstrap("f1@example.net", OTHER).await.0);
    assert!(place.bootstrap("f3@example.net", OTHER).await.0);
    // What stands in a file can't be added to the store.
    let psk = in_folder(&place, "psk");
    let error = place.hearth(&["add", "f3@example.net", "--psk-file", &psk]).await.unwrap_err();
    assert!(error.contains("stands in the file already"), "{error}");
}

/// Only operators change something, and only they get the store.
#[tokio::test(flavor = "multi_thread")]
async fn others_may_look_and_nothing_else() {
    let place = start("");
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(place.path("psk").parent().unwrap(), 0o755);
    open(&place.path("admin.sock"), 0o666);
    let script = "import socket,sys\n\
                  s=socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n\
                  b=sys.argv[3].encode()\n\
                  s.sendall(b'POST %s HTTP/1.1\\r\\nhost: h\\r\\nconnection: close\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n' % (sys.argv[2].encode(), len(b)) + b)\n\
                  print(s.recv(9999).split()[1].decode())";
    let body = format!("{{\"mn_id\": \"b@example.net\", \"psk\": {{\"hex\": \"{OTHER}\"}}}}");
    let ask = async |path: &'static str, body: String| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["/usr/bin/python3", "-c", script])
            .arg(place.path("admin.sock"))
            .args([path, &body]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask("/v1/subscribers/list", "{\"count\": 5}".into()).await, "200");
    for (path, body) in [
        ("/v1/subscribers/add", body.clone()),
        ("/v1/subscribers/set", body.clone()),
        ("/v1/subscribers/import", body.clone()),
        ("/v1/subscribers/import-over", body),
        ("/v1/subscribers/remove", "{\"mn_id\": \"yaml@example.net\"}".into()),
        ("/v1/subscribers/export", String::new()),
        ("/v1/subscribers/rewrap", String::new()),
    ] {
        assert_eq!(ask(path, body).await, "403", "{path}");
    }
    assert_eq!(place.hac.subscribers().len(), 1);
}

/// A realm's policy holds where a subscriber says nothing, a subscriber's own word before it.
#[tokio::test(flavor = "multi_thread")]
async fn realms_have_a_policy() {
    let realms = "\
realms:
  - {realm: Gold.Example.NET, suites: [AES_128_CBC_SHA256], sa_validity: 600, max_sas: 2, care_of_addresses: 3}
subscriber_files: [d]
";
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    let text = "subscribers:\n  - {mn_id: own@gold.example.net, sa_validity: 900, psk: {text: long enough a phrase}}\n";
    fs::write(folder.path().join("d/gold.yaml"), text).unwrap();
    let place = Place::begin(folder, &format!("{STORE}{realms}")).unwrap();
    let add = format!("{{\"mn_id\": \"a@GOLD.example.net\", \"psk\": {{\"hex\": \"{OTHER}\"}}}}");
    assert_eq!(place.post("/v1/subscribers/add", &add).await.0, 200);
    let what = |id: &str| {
        let found = place.hac.subscribers().find(&mn_id(id)).unwrap();
        (
            found.policy.sa_validity,
            found.policy.max_sas,
            found.policy.suites.len(),
            found.services.care_of_addresses,
        )
    };
    assert_eq!(what("a@GOLD.example.net"), (600, 2, 1, 3));
    assert_eq!(what("own@gold.example.net"), (900, 2, 1, 3));
    assert_eq!(what("yaml@example.net"), (86_400, 128, 2, 1));
    // The third SA ends the first.
    for _ in 0..3 {
        assert!(place.bootstrap("a@GOLD.example.net", OTHER).await.0);
    }
    let (_, done) =
        place.post("/v1/subscribers/remove", "{\"mn_id\": \"a@GOLD.example.net\"}").await;
    assert_eq!(done, "{\"subscribers\":1,\"revoked\":2,\"waiting\":0}");
}

#[test]
fn what_is_wrong_about_sources_and_realms_is_named() {
    let folder = Place::folder();
    fs::write(folder.path().join("wrap.key"), "11".repeat(32)).unwrap();
    fs::write(folder.path().join("short.key"), "11".repeat(31)).unwrap();
    for (more, words) in [
        ("subscriber_store: {}\n", "hac.yaml:13: subscriber_store: give exactly one of key_file"),
        ("subscriber_store: {key_file: wrap.key, credential: k}\n", "give exactly one of key_file"),
        ("subscriber_store: {key_file: no.key}\n", "subscriber_store.key_file: "),
        ("subscriber_store: {key_file: short.key}\n", "is no key: 64 hexadecimal digits"),
        ("subscriber_store: {credential: ../k}\n", "there is no credential ../k"),
        ("realms: [{realm: a@b.c}]\n", "realms[0].realm: a@b.c is no realm"),
        ("realms: [{realm: a.b}, {realm: A.B}]\n", "realms[1].realm: a.b stands twice"),
        ("realms: [{realm: a.b, max_sas: 1}]\n", "realms[0].max_sas: 1 is out of range; 2 to 128"),
        ("realms: [{realm: a.b, home_agent: ha9}]\n", "realms[0].home_agent: ha9 is none of"),
    ] {
        let text = format!("{}{more}", place::TEXT);
        fs::write(folder.path().join("hac.yaml"), text).unwrap();
        let error = Config::load(&folder.path().join("hac.yaml"), 1_800_000_000).unwrap_err();
        assert!(error.to_string().contains(words), "{more}: {error}");
    }
}
