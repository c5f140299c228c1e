//! A real browser: Chromium without a window, driven by the protocol of W3C for it
//! (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::web::ask;

/// A browser, until it is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _profile: TempDir,
}

/// Nobody is asked anything, and nothing of the world is fetched.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1000",
];

impl Browser {
    /// Starts one with an empty profile.
    pub fn start() -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tests of the page need Chromium: install it with `tests/install`");
        let said = driver.stdout.take().expect("its output is piped");
        let said = BufReader::new(said).lines().map_while(Result::ok);
        let port = { said }.find_map(|line| {
            let port = line.split_once("successfully on port ")?.1;
            Some(port.trim_end_matches('.').to_owned())
        });
        let address = format!("127.0.0.1:{}", port.expect("the driver tells its port"));
        let profile = tempfile::tempdir().expect("there is room for a profile");
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
        } } });
        let mut browser = Browser {
            driver,
            address,
            session: String::new(),
            _profile: profile,
        };
        let session = browser.tell("", &wanted);
        let session = session["sessionId"].as_str();
        session
            .expect("the driver finds Chromium, and starts it")
            .clone_into(&mut browser.session);
        browser
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// What a function body in JavaScript returns that is run on the page.
    pub fn run(&self, script: &str) -> Json {
        self.tell("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn tell(&self, command: &str, body: &Json) -> Json {
        let session = &self.session;
        let path = if session.is_empty() {
            "/session".to_owned()
        } else {
            format!("/session/{session}{command}")
        };
        let answer = ask(&self.address, "POST", &path, &body.to_string());
        let mut told = answer.json();
        assert_eq!(answer.code, 200, "{path}: {}", told["value"]["message"]);
        told["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to end, the driver ends its browser, too; killed, it would leave it behind.
        let asked = TcpStream::connect(&self.address).and_then(|mut stream| {
            write!(stream, "GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            stream.read(&mut [0])
        });
        if asked.is_err() {
            self.driver.kill().ok();
        }
        self.driver.wait().ok();
    }
}
