//! What a killed run has left is put back by the next one, for whichever interface that is.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use provisioner::{
    model::Hinted,
    net::{
        Place, probe,
        setup::{self, Change, Leftover, Recovered, Tools},
    },
};

use super::{Net, all_changes};

impl Net {
    /// What a run for `interface` would say.
    fn recover(&self, interface: &str) -> anyhow::Result<Vec<String>> {
        let recovered = setup::recover(&self.place, &Tools::default(), &self.records(), interface)?;
        Ok(recovered.iter().map(ToString::to_string).collect())
    }

    fn leftovers(&self) -> Vec<Leftover> {
        setup::leftovers(&self.place, &self.records()).expect("a boot")
    }

    /// A run for `prov0` that lives.
    fn spawn_run(&self) -> Child {
        let mut command = Command::new(env::current_exe().expect("this test"));
        command
            .args(["--exact", "net::recover::child_that_applies_and_waits", "--nocapture"])
            .env("PROVISIONER_TEST_RECORD", self.record())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = self.place.run(move || command.spawn()).expect("started");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        assert!(output.lines().any(|line| line.is_ok_and(|line| line == "applied")), "the child could not apply");
        child
    }

    /// A run for `prov0` that was killed.
    fn kill_run(&self) {
        kill(self.spawn_run());
    }
}

fn kill(mut child: Child) {
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
}

/// The process of [`Net::spawn_run`]; does nothing in a normal run of the tests.
#[test]
fn child_that_applies_and_waits() {
    let Ok(record) = env::var("PROVISIONER_TEST_RECORD") else { return };
    let interfaces = probe::interfaces(&Place::Here).expect("netlink answers");
    let interface = probe::choose(&interfaces, Some("prov0")).expect("a veth is ethernet");
    let applied = setup::apply(&Place::Here, &Tools::default(), interface, &all_changes(), Path::new(&record));
    let _applied = applied.expect("applied");
    writeln!(io::stdout(), "\napplied").expect("the parent listens");
    io::stdin().read_to_end(&mut Vec::new()).expect("until the parent is done");
}

/// What is said of [`all_changes`].
fn all_put_back() -> Vec<String> {
    let line = |change: Change| format!("put back what an earlier run had left: {}", change.on("prov0"));
    all_changes().into_iter().map(line).collect()
}

#[test]
fn a_killed_run_is_put_back_by_the_next_and_a_living_one_is_not() {
    let Some(net) = Net::new() else { return };
    let before = net.state();
    let child = net.spawn_run();
    let during = net.state();
    assert_ne!(during, before);

    let error = net.recover("prov0").expect_err("it is alive");
    let hinted = error.downcast_ref::<Hinted>().expect("with a hint");
    assert_eq!(hinted.what, format!("another provisioner (pid {}) uses interface prov0", child.id()));
    assert!(net.apply(&[]).is_err(), "nor can it be ignored");
    assert_eq!(net.recover("eth1").expect("its own business"), Vec::<String>::new());
    assert_eq!(net.leftovers(), []);
    assert_eq!(net.state(), during);

    kill(child);
    assert_eq!(net.state(), during, "nobody put it back");
    let index = net.interface("prov0").index;
    let leftover = Leftover { interface: "prov0".to_owned(), index, changes: all_changes() };
    assert_eq!(net.leftovers(), [leftover]);
    assert_eq!(net.state(), during, "looking changes nothing");
    assert_eq!(net.recover("prov0").expect("recovered"), all_put_back());
    assert_eq!(net.state(), before);
    assert!(!net.record().exists());
    assert_eq!(net.recover("prov0").expect("nothing is left"), Vec::<String>::new());
    assert_eq!(net.leftovers(), []);
}

#[test]
fn a_run_for_another_interface_puts_back_as_well() {
    let Some(net) = Net::new() else { return };
    let before = net.state();
    net.kill_run();
    assert_ne!(net.state(), before);
    assert_eq!(net.recover("eth1").expect("recovered"), all_put_back());
    assert_eq!(net.state(), before);
    assert!(!net.record().exists());
}

#[test]
fn an_interface_that_was_unplugged_meanwhile_is_dropped_and_said() {
    let Some(net) = Net::new() else { return };
    for ours in ["eth1", "prov0"] {
        net.kill_run();
        net.ip("link del prov0");
        // Plugged in again, and somebody uses it.
        net.add_link();
        net.ip("link set prov0 up");
        net.ip("addr add 192.168.42.1/24 dev prov0");
        let before = net.state();
        let said = "prov0 was unplugged after an earlier run had changed it: nothing is left to put back";
        assert_eq!(net.recover(ours).expect("nothing can be done"), [said]);
        assert_eq!(net.state(), before);
        assert!(!net.record().exists());
        net.ip("addr del 192.168.42.1/24 dev prov0");
        net.ip("link set prov0 down");
    }
}

#[test]
fn what_cannot_be_put_back_on_another_interface_is_said_and_kept() {
    let Some(net) = Net::new() else { return };
    net.kill_run();
    let (during, prov0) = (net.state(), fs::read_to_string(net.record()).expect("a record"));
    let broken = net.records().of("aaa0");
    fs::write(&broken, "{}\n").expect("written");
    let said = net.recover("eth1").expect("it is not ours");
    assert!(said[0].contains("aaa0.changes cannot be understood: "), "{said:?}");
    assert!(said[0].ends_with("then remove that file)"), "{said:?}");
    assert_eq!(said[1..], all_put_back(), "one does not keep the others from it");
    assert!(broken.exists());
    assert_ne!(net.state(), during);
    fs::remove_file(&broken).expect("removed");

    // The service is there and refuses.
    let nmcli = net.directory.path().join("nmcli");
    let draft = nmcli.with_extension("draft");
    fs::write(&draft, "#!/bin/sh\necho 'not authorized' >&2\nexit 1\n").expect("written");
    // QUIRK: by another process, else execve(2) says ETXTBSY when another test forks at that moment.
    let installed = Command::new("install").arg("-m755").args([&draft, &nmcli]).status().expect("install runs");
    assert!(installed.success());
    fs::write(net.record(), prov0 + "\"unmanage\"\n").expect("written");
    let tools = Tools::on_path(net.directory.path());
    let recover = |ours| setup::recover(&net.place, &tools, &net.records(), ours);
    let recovered = recover("eth1").expect("it is not ours");
    let [Recovered::Failed(error)] = &recovered[..] else { panic!("{recovered:?}") };
    assert!(error.to_string().contains("undoing «tell NetworkManager to leave prov0 alone»"), "{error}");
    assert!(net.record().exists(), "the next run tries again");
    assert!(recover("prov0").is_err(), "it cannot be used like that");

    net.ip("link del prov0");
    let recovered = recover("eth1").expect("gone");
    assert!(matches!(&recovered[..], [Recovered::Gone { interface }] if interface == "prov0"), "{recovered:?}");
    assert!(!net.record().exists());
}

#[test]
fn a_record_of_another_boot_or_network_is_dropped() {
    let Some(net) = Net::new() else { return };
    net.ip("link set prov0 up");
    net.ip("addr add 192.168.42.1/24 dev prov0");
    let before = net.state();
    let applied = net.apply(&[Change::LinkUp]).expect("applied");
    let ours = fs::read_to_string(net.record()).expect("a record");
    drop(applied);
    net.ip("link set prov0 up");

    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    let other_boot = ours.replace(boot.trim(), "00000000-0000-4000-8000-000000000000");
    let other_network = ours.replace("\"namespace\":", "\"namespace\":1");
    for (text, also_by_others) in [(other_boot, true), (other_network, false), (String::new(), true)] {
        assert_ne!(text, ours);
        for (interface, dropped) in [("eth1", also_by_others), ("prov0", true)] {
            fs::write(net.record(), &text).expect("written");
            assert_eq!(net.leftovers(), []);
            assert_eq!(net.recover(interface).expect("dropped"), Vec::<String>::new());
            assert_eq!(net.state(), before);
            assert_eq!(net.record().exists(), !dropped, "{interface}: {text}");
        }
    }

    fs::write(net.record(), "{}\n").expect("written");
    let error = net.recover("prov0").expect_err("not a record");
    assert!(error.downcast_ref::<Hinted>().is_some_and(|hinted| hinted.hint.contains("remove that file")), "{error}");

    fs::write(net.record(), ours).expect("written");
    assert_eq!(net.recover("prov0").expect("recovered"), all_put_back()[..1], "the unaltered record is believed");
    assert_ne!(net.state(), before);
}
