//! A repository, images to fill it with, and programs that run on it with an eye on the clock.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use composefs_testkit::{
    Output, Sandbox,
    images::{Compression, Image, Layer, Layout, layer_of_noise as layer, noise},
    registry::{Registry, RegistryOptions},
    tars::TarBuilder,
};
use rustix::fs::{FlockOperation, flock};

pub(crate) const CFSCTL: &str = env!("CARGO_BIN_EXE_cfsctl");

/// A run that lasts longer is stuck: the longest takes a second alone.
const LIMIT: Duration = Duration::from_secs(60);

/// The images there are, all with the lowest layer of the first.
pub(crate) const IMAGES: [&str; 5] = ["base", "app", "app-zstd", "large", "many"];

/// How often everything is done.
pub(crate) fn times() -> u64 {
    std::env::var("COMPOSEFS_TEST_CONCURRENCY").map_or(1, |text| text.parse().expect("a number"))
}

/// Numbers that look random; the seed is in the name of what fails.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Without a wish they are the same everywhere.
        let other = if times() > 1 { u64::from(std::process::id()) << 16 } else { 0 };
        Self((seed ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// How long the runs of a verb took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    runs: u32,
    longest: Duration,
}

/// A repository that many use.
pub(crate) struct Crowd {
    pub(crate) sandbox: Sandbox,
    pub(crate) layout: Layout,
    pub(crate) registry: Registry,
    /// The manifests' digests by the images' names.
    pub(crate) manifests: BTreeMap<&'static str, String>,
    took: Mutex<BTreeMap<String, Took>>,
}

fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

impl Crowd {
    pub(crate) fn new(algorithm: &str) -> Self {
        let sandbox = Sandbox::within(&place(), CFSCTL);
        let mut layout = Layout::create(sandbox.path("layout"));
        let base = layer(1, 40_000, Compression::Gzip);
        let mut many = TarBuilder::new().dir("many");
        for n in 0..150 {
            many = many.file(&format!("many/{n}"), noise(n, 70 + 20 * usize::try_from(n).unwrap()));
        }
        let many = Layer::new(many.finish(), Compression::Zstd);
        let large = layer(2, 1_500_000, Compression::Gzip);
        let upper =
            TarBuilder::new().dir("usr").file("usr/own", noise(3, 900)).whiteout("usr/file1").finish();
        let images = [
            Image::new([base.clone()]),
            Image::new([base.clone(), Layer::new(upper.clone(), Compression::Gzip)]),
            Image::new([
                Layer::new(base.tar.clone(), Compression::Zstd),
                Layer::new(upper, Compression::Zstd),
            ]),
            Image::new([base.clone(), large.clone()]),
            Image::new([base, many, large]),
        ];
        let mut manifests = BTreeMap::new();
        for (name, image) in IMAGES.into_iter().zip(images) {
            manifests.insert(name, layout.image(name, &image).manifest.digest);
        }
        let registry = Registry::start(RegistryOptions::default());
        registry.add_layout("images", layout.path());
        let _ = sandbox.cfsctl(["init", "--insecure", "--algorithm", algorithm]).success();
        Self { sandbox, layout, registry, manifests, took: Mutex::default() }
    }

    /// Where an image is to be had: in the layout, or from the registry.
    pub(crate) fn reference(&self, image: &str, remote: bool) -> String {
        if remote {
            self.registry.reference(&format!("images:{image}"))
        } else {
            self.layout.reference(image)
        }
    }

    /// Runs our program on the repository.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.timed("", self.sandbox.program().to_owned(), arguments)
    }

    /// Runs the other one.
    pub(crate) fn run_other<A: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        self.timed("0.9: ", program.to_owned(), arguments)
    }

    fn timed<A: AsRef<OsStr>>(
        &self,
        who: &str,
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        let begin = Instant::now();
        let run = self.sandbox.invocation_of(program).arg("--repo").arg(self.sandbox.repo());
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let words = arguments.iter().filter_map(|argument| argument.to_str());
        let verb: Vec<&str> = words.filter(|word| !word.starts_with('-')).take(2).collect();
        let verb = if verb.first() == Some(&"oci") { verb.join(" ") } else { verb[0].to_owned() };
        let output = run.args(&arguments).limit(LIMIT).run();
        let mut took = self.took.lock().unwrap();
        let took = took.entry(format!("{who}{verb}")).or_default();
        took.runs += 1;
        took.longest = took.longest.max(begin.elapsed());
        output
    }

    /// Says how often verbs ran and how long at most, and that none was held up for longer than `most`.
    pub(crate) fn nobody_waited(&self, most: Duration) {
        for (verb, took) in &*self.took.lock().unwrap() {
            eprintln!("{verb}: {} runs, at most {:.2} s", took.runs, took.longest.as_secs_f64());
            assert!(took.longest < most || verb.starts_with("0.9"), "{verb} took {:?}", took.longest);
        }
    }

    /// Takes the shared lock again and again until told to stop; returns the longest wait for it.
    pub(crate) fn longest_wait(&self, stop: &AtomicBool) -> Duration {
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let directory = File::open(self.sandbox.repo()).unwrap();
            let begin = Instant::now();
            flock(&directory, FlockOperation::LockShared).unwrap();
            longest = longest.max(begin.elapsed());
            drop(directory);
            std::thread::sleep(Duration::from_millis(2));
        }
        longest
    }

    /// The tags there are and the manifests they lead to.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let list = self.run(["oci", "images", "--json"]).success().json();
        let images = list["images"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        images.iter().map(|image| (text(&image["name"]), text(&image["manifest_digest"]))).collect()
    }

    /// Checks everything, and that every tag's image is whole.
    pub(crate) fn clean(&self) {
        let _ = self.run(["fsck", "--deep"]).success();
        let _ = self.run(["oci", "fsck"]).success();
    }
}
