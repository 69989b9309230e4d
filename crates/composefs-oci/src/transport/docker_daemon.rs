//! Images of Docker's daemon, or of podman's service under the same interface.
//!
//! The daemon hands out what `docker save` writes, once and in one piece; it is kept in an unnamed temporary file and
//! read as such an archive.
//!
//! # Format
//! `docs/formats/transports.md`, section 1; Docker's API, `GET /images/NAME/get`.

mod answer;

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use oci_spec::image::Descriptor;

use crate::{
    environment::Environment,
    error::Error,
    model::platform::Platform,
    reference::{DaemonImage, Reference},
};

use super::{Chosen, Root, Source, archive_file, docker_archive::DockerArchive, layout::read_bounded};
use answer::Answer;

/// Where the daemon listens unless told otherwise.
const SOCKET: &str = "unix:///var/run/docker.sock";
/// How long the daemon may say nothing: it packs the image first.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// The longest message of an error that is read.
const MESSAGE_MAX: u64 = 64 << 10;

/// Where the daemon is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DaemonOptions {
    /// `unix://PATH` or `tcp://HOST:PORT`, as in `DOCKER_HOST`; none: `/var/run/docker.sock`.
    pub host: Option<String>,
}

impl DaemonOptions {
    /// Takes what `DOCKER_HOST` says.
    #[must_use]
    pub fn from_environment(environment: &Environment) -> Self {
        Self { host: environment.get("DOCKER_HOST").and_then(|host| host.to_str()).map(str::to_owned) }
    }

    /// Sets where the daemon is; an empty text is none.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into()).filter(|host| !host.is_empty());
        self
    }
}

/// An image of Docker's daemon.
#[derive(Debug)]
pub struct DockerDaemon {
    image: DaemonImage,
    archive: DockerArchive,
}

impl DockerDaemon {
    /// Fetches an image from the daemon into an unnamed temporary file.
    ///
    /// # Errors
    /// [`Error::Daemon`]; [`Error::NoSuchImage`]; as for an archive of `docker save`.
    pub fn open(image: &DaemonImage, options: &DaemonOptions) -> Result<Self, Error> {
        let host = options.host.as_deref().unwrap_or(SOCKET);
        let fail =
            |source: io::Error| Error::Daemon { host: host.to_owned(), image: image.to_string(), source };
        let mut connection = connect(host).map_err(fail)?;
        connection.write_all(request(image.as_str()).as_bytes()).map_err(fail)?;
        let answer = Answer::read(connection).map_err(fail)?;
        let name = Reference::DockerDaemon(image.clone()).to_string();
        match answer.status {
            200 => {}
            404 => {
                let reason = message(answer).map_err(fail)?;
                return Err(Error::NoSuchImage { reference: name, reason, present: Vec::new() });
            }
            status => {
                let reason = message(answer).map_err(fail)?;
                return Err(fail(io::Error::other(format!("status {status}: {reason}"))));
            }
        }
        let archive = archive_file::spool_unpacked(answer.body).map_err(fail)?;
        Ok(Self { image: image.clone(), archive: DockerArchive::from_file(archive, &name)? })
    }
}

/// Connects to where `DOCKER_HOST` says.
fn connect(host: &str) -> io::Result<Box<dyn Connection>> {
    if let Some(path) = host.strip_prefix("unix://") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        return Ok(Box::new(stream));
    }
    if let Some(address) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) {
        let stream = TcpStream::connect(address.trim_end_matches('/'))?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        return Ok(Box::new(stream));
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "only unix:// and tcp:// are spoken"))
}

trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

fn request(image: &str) -> String {
    let mut path = String::new();
    for byte in image.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b':' | b'.' | b'_' | b'-' => {
                path.push(char::from(byte));
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    format!(
        "GET /images/{path}/get HTTP/1.1\r\nHost: docker\r\nUser-Agent: composefs-oci\r\nConnection: close\r\n\r\n"
    )
}

/// Returns what the daemon says about an error, in a line.
fn message(answer: Answer) -> io::Result<String> {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let body = read_bounded(answer.body, MESSAGE_MAX)?;
    let text = match serde_json::from_slice::<Message>(&body) {
        Ok(said) => said.message,
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    Ok(if text.is_empty() { "the daemon does not say why".to_owned() } else { text })
}

impl Source for DockerDaemon {
    fn describe(&self) -> String {
        Reference::DockerDaemon(self.image.clone()).to_string()
    }

    fn root(&self) -> Result<Root, Error> {
        self.archive.root()
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        self.archive.manifest(platform)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.archive.blob(descriptor)
    }
}
