//! What `docker save` writes, as several versions of it did, and a daemon that hands it out.

use crate::{
    images::{Image, sha256},
    tars::TarBuilder,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

/// How an archive is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `HEX.json` and `HEX/layer.tar`: Docker 1.10 to 24.
    Directories,
    /// The same, the layers lying elsewhere and `layer.tar` being symlinks to them, as skopeo writes them.
    Links,
    /// `blobs/sha256/HEX`: Docker 25 and later, with an OCI layout beside `manifest.json`.
    Blobs,
    /// `repositories` alone and a config for each layer: Docker before 1.10.
    Repositories,
}

/// Returns the image as `docker save` writes it, under these names; layers as they are in the image, packed or not.
#[must_use]
pub fn archive(image: &Image, names: &[&str], form: Form) -> Vec<u8> {
    archive_of(&[(image, names)], form)
}

/// Returns several images as `docker save` writes them.
///
/// # Panics
/// When a name has no tag.
#[must_use]
pub fn archive_of(images: &[(&Image, &[&str])], form: Form) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    let mut listed = Vec::new();
    let mut repositories = json!({});
    let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    for (image, names) in images {
        let config = image.config_json().to_string();
        let id = hex(&sha256(config.as_bytes()));
        let mut layers = Vec::new();
        let mut parent: Option<String> = None;
        for (at, layer) in image.layers.iter().enumerate() {
            let blob = hex(&sha256(&layer.blob));
            let directory = hex(&sha256(format!("{id} {at}").as_bytes()));
            let path = format!("{directory}/layer.tar");
            match form {
                Form::Directories | Form::Repositories => tar = tar.dir(&directory).file(&path, &layer.blob),
                Form::Links => {
                    let target = format!("{blob}.tar");
                    tar = tar
                        .dir(&directory)
                        .symlink(&path, &format!("../{target}"))
                        .file(&target, &layer.blob);
                }
                Form::Blobs => tar = tar.file(&format!("blobs/sha256/{blob}"), &layer.blob),
            }
            if form == Form::Repositories {
                tar = tar
                    .file(&format!("{directory}/json"), old_config(image, &directory, parent.as_deref(), at));
                parent = Some(directory);
            }
            layers.push(if form == Form::Blobs { format!("blobs/sha256/{blob}") } else { path });
        }
        let config_name =
            if form == Form::Blobs { format!("blobs/sha256/{id}") } else { format!("{id}.json") };
        if form == Form::Repositories {
            for (name, tag) in names.iter().map(|name| name.rsplit_once(':').unwrap()) {
                repositories[name][tag] = json!(parent);
            }
        } else {
            tar = tar.file(&config_name, &config);
        }
        listed.push(json!({"Config": config_name, "RepoTags": names, "Layers": layers}));
    }
    if form == Form::Repositories {
        return tar.file("repositories", repositories.to_string()).finish();
    }
    if form == Form::Blobs {
        let index = json!({"schemaVersion": 2, "manifests": []});
        tar =
            tar.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", index.to_string());
    }
    tar.file("manifest.json", Value::Array(listed).to_string()).finish()
}

fn old_config(image: &Image, id: &str, parent: Option<&str>, at: usize) -> String {
    let mut config = json!({
        "id": id,
        "created": "1970-01-01T00:00:00Z",
        "container_config": {"Cmd": ["/bin/sh", "-c", format!("layer {at}")]},
        "architecture": image.architecture,
        "os": image.os,
        "config": image.config,
        "Size": 7,
    });
    if let Some(parent) = parent {
        config["parent"] = json!(parent);
    }
    config.to_string()
}

/// A Docker daemon that answers a number of requests; it ends when they were answered.
#[derive(Debug)]
pub struct Daemon {
    socket: PathBuf,
    thread: JoinHandle<Vec<String>>,
}

impl Daemon {
    /// Listens on `socket`; each request gets the next of `answers`, whole HTTP answers.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(socket: &Path, answers: Vec<Vec<u8>>) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                requests.push(head.first().cloned().unwrap_or_default());
                // Whoever asked may have seen enough.
                let _ = stream.write_all(&answer);
            }
            requests
        });
        Self { socket: socket.to_owned(), thread }
    }

    /// Returns where it listens, as `DOCKER_HOST` has it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Waits until all was answered and returns the first lines of the requests.
    ///
    /// # Panics
    /// When the daemon did.
    #[must_use]
    pub fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

/// Returns an answer of status 200 with `body` in chunks.
#[must_use]
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(10_000) {
        answer.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

/// Returns an answer of some status with a message in Docker's form.
#[must_use]
pub fn refusal(status: &str, message: &str) -> Vec<u8> {
    let body = json!({"message": message}).to_string();
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
