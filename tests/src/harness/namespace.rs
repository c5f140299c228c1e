//! Two network namespaces with a cable between them, as two machines have.
//!
//! ```text
//! namespace a: 10.213.N.1 ---- cable ---- 10.213.N.2 :namespace b
//! ```
//!
//! It takes root and `ip` of iproute2.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

/// Two machines, which are removed when this is dropped.
#[derive(Debug)]
pub struct Machines {
    number: u8,
}

/// The names of the machines.
const NAMES: [char; 2] = ['a', 'b'];

impl Machines {
    /// Machines with a cable between them; `number` tells them from those of other tests.
    pub fn joined(number: u8) -> Machines {
        let machines = Machines { number };
        let [a, b] = [0, 1].map(|machine| machines.name(machine));
        // What a test that was killed left.
        machines.remove();
        for name in [&a, &b] {
            ip(&["netns", "add", name]);
        }
        let cable = ["link", "add", "cable", "netns", &a, "type", "veth"];
        let other_end = ["peer", "name", "cable", "netns", &b];
        ip(&[&cable[..], &other_end].concat());
        for machine in [0, 1] {
            let name = machines.name(machine);
            let address = format!("{}/24", machines.address(machine));
            let hardware = hardware(machine);
            ip(&["-n", &name, "link", "set", "cable", "address", &hardware]);
            ip(&["-n", &name, "address", "add", &address, "dev", "cable"]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &name, "link", "set", "cable", "up"]);
        }
        machines
    }

    /// Where a process on a machine listens.
    pub fn listening(&self, machine: usize) -> SocketAddr {
        // Nobody else is on the machine.
        (self.address(machine), 9101).into()
    }

    /// The command on a machine.
    pub fn on(&self, machine: usize, command: &Command) -> Command {
        let mut within = Command::new("ip");
        within.args(["netns", "exec", &self.name(machine)]);
        within.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            within.current_dir(folder);
        }
        within
    }

    /// From here on what one machine sends to the other is lost, and neither is told: it goes to a
    /// hardware address that nobody has.
    pub fn cut(&self) {
        self.neighbours(|_| "02:00:00:00:00:ff".to_owned());
    }

    /// What they send arrives again.
    pub fn mend(&self) {
        self.neighbours(hardware);
    }

    fn neighbours(&self, hardware: impl Fn(usize) -> String) {
        for (machine, other) in [(0, 1), (1, 0)] {
            let (name, address) = (self.name(machine), self.address(other).to_string());
            let to = ["neighbour", "replace", &address, "dev", "cable"];
            let at = ["lladdr", &hardware(other), "nud", "permanent"];
            ip(&[&["-n", &name], &to[..], &at].concat());
        }
    }

    fn name(&self, machine: usize) -> String {
        format!("tidemill-{}{}", self.number, NAMES[machine])
    }

    fn address(&self, machine: usize) -> Ipv4Addr {
        let host = u8::try_from(machine + 1).expect("there are two");
        Ipv4Addr::new(10, 213, self.number, host)
    }

    fn remove(&self) {
        for machine in [0, 1] {
            // With it goes its end of the cable, and so the other one. It may not be there.
            let mut ip = Command::new("ip");
            ip.args(["netns", "delete", &self.name(machine)])
                .output()
                .ok();
        }
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.remove();
    }
}

fn hardware(machine: usize) -> String {
    format!("02:00:00:00:00:0{}", machine + 1)
}

/// Runs `ip`.
fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output();
    let done = done.expect("`ip` of iproute2 is there: run tests/install");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "network namespaces can be made, which takes root: ip {}: {said}",
        words.join(" ")
    );
}
