//! Mounts for real. The tests need root; those named `guest_` need fs-verity as well and run in the virtual machine,
//! where the test `vm_mounts` has this same program run again, so that both kernels see all of them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::needless_range_loop)]

use std::{
    fs,
    io::{self, ErrorKind},
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::{self, FormatVersion, WriteOptions},
    error::{Error, Result},
    filetree::{FileTree, Inode, InodeId, InodeKind, Name, Regular, Stat},
    mount::{
        Access, AttachPolicy, Attachment, Feature, IdMap, IdRange, Kernel, MountError, MountOptions,
        MountPlan, Mounted, OverlayVerity, UnmountWhen, VerityPolicy, unmount,
    },
    name::RefName,
    repo::{GcOptions, GcPlan, InitOptions, OpenOptions, Repository, init},
};
use composefs_testkit::{skip_or_fail, vm::Machine};
use rustix::fs::CWD;

/// The files of the test image: names, contents.
const FILES: [(&str, &str); 3] =
    [("first", "the first file, "), ("second", "the second file, "), ("third", "the third, ")];

fn contents(index: usize) -> Vec<u8> {
    FILES[index].1.repeat(400 * (index + 1)).into_bytes()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A repository with one image of three files, and a mountpoint that is empty again in the end.
struct Scene {
    directory: tempfile::TempDir,
    repository: Repository,
    image: ObjectId,
    objects: Vec<ObjectId>,
}

impl Scene {
    fn new(algorithm: Algorithm, insecure: bool, version: FormatVersion) -> Self {
        Self::below(&std::env::temp_dir(), algorithm, insecure, version)
    }

    fn below(parent: &Path, algorithm: Algorithm, insecure: bool, version: FormatVersion) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        let path = directory.path().join("repository");
        fs::create_dir(directory.path().join("mnt")).unwrap();
        init(CWD, &path, &InitOptions::new(algorithm).insecure(insecure)).unwrap();
        let repository = Repository::open(CWD, &path, &OpenOptions::default()).unwrap();
        assert_eq!(repository.is_verified(), !insecure);
        let writer = repository.writer().unwrap();

        let mut tree = FileTree::new(Stat { mode: 0o751, ..Stat::default() });
        let objects: Vec<ObjectId> = (0..FILES.len())
            .map(|index| {
                let stored = writer.store_bytes(&contents(index)).unwrap();
                let regular = Regular::External { id: stored.id, size: stored.size };
                let stat = Stat { mode: 0o644, ..Stat::default() };
                let inode = Inode { stat, kind: InodeKind::Regular(regular) };
                tree.insert(InodeId::ROOT, Name::new(FILES[index].0.as_bytes()).unwrap(), inode).unwrap();
                stored.id
            })
            .collect();
        let bytes = erofs::to_vec(&tree, version, &WriteOptions::default()).unwrap();
        let image = writer.store_bytes(&bytes).unwrap().id;
        let mut commit = writer.begin();
        commit.image(image).image_ref(RefName::new("test").unwrap(), &image);
        commit.finish().unwrap();
        Self { directory, repository, image, objects }
    }

    fn mountpoint(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    fn file(&self, index: usize) -> PathBuf {
        self.mountpoint().join(FILES[index].0)
    }

    fn plan(&self, options: &MountOptions) -> Result<MountPlan> {
        MountPlan::new(&self.repository, &self.image, options)
    }

    fn mount(&self, options: &MountOptions) -> Result<Mounted> {
        self.plan(options)?.apply(&self.mountpoint())
    }

    fn unmount(&self) -> bool {
        unmount(&self.mountpoint(), Some(&self.repository), UnmountWhen::Unused).unwrap()
    }

    /// Returns the line of the mount table for the mountpoint, if something is mounted there.
    fn line(&self) -> Option<String> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let wanted = self.mountpoint().display().to_string();
        table.lines().filter(|line| line.split(' ').nth(1) == Some(&wanted)).map(str::to_owned).next_back()
    }

    fn records(&self) -> Vec<String> {
        self.repository
            .refs(composefs::error::Category::Images, "x-mounts")
            .unwrap()
            .into_iter()
            .map(|(name, entry)| {
                assert_eq!(entry, self.image.to_hex());
                name
            })
            .collect()
    }

    fn object_path(&self, id: &ObjectId) -> PathBuf {
        self.repository.path().join("objects").join(id.object_path())
    }

    /// Puts other contents of the same size under an object's name, as somebody with access to the disk might.
    fn swap_object(&self, id: &ObjectId, with_verity: bool) {
        let path = self.object_path(id);
        let size = fs::metadata(&path).unwrap().len();
        fs::remove_file(&path).unwrap();
        fs::write(&path, vec![b'!'; usize::try_from(size).unwrap()]).unwrap();
        if with_verity {
            let file = fs::File::open(&path).unwrap();
            let number = u32::from(id.algorithm().kernel_number());
            composefs_linux::verity::enable(file.as_fd(), number, 4096, None).unwrap();
        }
    }

    fn check_files(&self) {
        for index in 0..FILES.len() {
            assert!(fs::read(self.file(index)).unwrap() == contents(index), "{}", FILES[index].0);
        }
        let mut names: Vec<_> =
            fs::read_dir(self.mountpoint()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name.len() > 2);
        names.sort_unstable();
        assert_eq!(names, FILES.map(|(name, _)| name));
        assert_eq!(fs::metadata(self.mountpoint()).unwrap().permissions().mode() & 0o7777, 0o751);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        while self.line().is_some() {
            let _ = rustix::mount::unmount(self.mountpoint(), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// The running kernel, and the same without what it has learnt since Linux 6.15, 6.13, 6.7 and 6.5.
fn kernels() -> Vec<(&'static str, Kernel)> {
    let mut kernel = Kernel::current().unwrap().clone();
    let mut kernels = vec![("this", kernel.clone())];
    for (name, feature) in [
        ("6.14", Feature::DetachedLayers),
        ("6.12", Feature::LayerDescriptors),
        ("6.6", Feature::AppendedLayers),
    ] {
        kernel = kernel.without(feature);
        kernels.push((name, kernel.clone()));
    }
    kernels
}

#[test]
fn mounts_are_recorded_and_read_only() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    for (name, kernel) in kernels() {
        let mounted = scene.mount(&MountOptions::default().kernel(kernel)).unwrap();
        assert!(mounted.recorded, "{name}");
        assert_eq!(mounted.verity, OverlayVerity::Off);
        assert_eq!(scene.records(), [mounted.record.file_name()]);
        let line = scene.line().unwrap();
        assert!(line.starts_with(&format!("composefs:{} ", scene.image)), "{line}");
        assert!(line.contains(" ro,") && line.contains("metacopy=on") && !line.contains("verity"), "{line}");
        scene.check_files();
        assert_eq!(fs::write(scene.file(0), "x").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        assert!(scene.unmount(), "{name}: no record");
        assert_eq!((scene.line(), scene.records().len()), (None, 0), "{name}");
    }
    let error = unmount(&scene.mountpoint(), Some(&scene.repository), UnmountWhen::Unused).unwrap_err();
    assert!(matches!(error, Error::Mount(MountError::NotMounted { .. })), "{error}");
}

#[test]
fn every_version_and_algorithm_mounts() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    for version in [FormatVersion::V0, FormatVersion::V1, FormatVersion::V2] {
        for algorithm in Algorithm::ALL {
            let scene = Scene::new(algorithm, true, version);
            scene.mount(&MountOptions::default()).unwrap();
            scene.check_files();
            scene.unmount();
        }
    }
}

#[test]
fn a_loop_device_comes_and_goes() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        skip_or_fail!("needs loop devices");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    let mounted = scene.mount(&MountOptions::default().attach(AttachPolicy::Loop)).unwrap();
    let Attachment::Loop { device } = mounted.attachment else { panic!("{}", mounted.attachment) };
    scene.check_files();
    let busy = |device: &Path| {
        let name = device.file_name().unwrap();
        Path::new("/sys/block").join(name).join("loop/backing_file").exists()
    };
    assert!(busy(&device));
    scene.unmount();
    // The last reference is dropped by a kernel thread.
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        !busy(&device)
    });
    assert!(gone, "{} stays", device.display());
}

#[test]
fn an_image_in_memory_takes_a_loop_device() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() || !Path::new("/dev/loop-control").exists() {
        skip_or_fail!("needs a tmpfs on /dev/shm and loop devices");
    }
    let scene = Scene::below(shm, Algorithm::Sha256, true, FormatVersion::V1);
    let error = scene.mount(&MountOptions::default().attach(AttachPolicy::File)).unwrap_err();
    assert!(
        matches!(error, Error::Mount(MountError::MissingFeature { feature: Feature::ErofsFromFile, .. })),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("loop device"), "{error}");
    let mounted = scene.mount(&MountOptions::default()).unwrap();
    assert!(matches!(mounted.attachment, Attachment::Loop { .. }));
    scene.check_files();
    scene.unmount();
}

#[test]
fn changes_go_to_the_upper_layer() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    let [upper, work] = ["upper", "work"].map(|name| scene.directory.path().join(name));
    for (name, kernel) in kernels() {
        for path in [&upper, &work] {
            let _ = fs::remove_dir_all(path);
            fs::create_dir(path).unwrap();
        }
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o751)).unwrap();
        let options = MountOptions::default().upper(&upper, &work).kernel(kernel);
        scene.mount(&options.clone().access(Access::ReadWrite)).unwrap();
        scene.check_files();
        fs::write(scene.mountpoint().join("new"), name).unwrap();
        fs::remove_file(scene.file(1)).unwrap();
        scene.unmount();
        assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), name);

        // Earlier changes show on a read-only mount as well.
        scene.mount(&options).unwrap();
        assert_eq!(fs::read_to_string(scene.mountpoint().join("new")).unwrap(), name);
        assert!(!scene.file(1).exists());
        assert!(fs::write(scene.mountpoint().join("newer"), "").is_err(), "{name}");
        scene.unmount();
    }
    // Objects are what they were.
    for (index, id) in scene.objects.iter().enumerate() {
        assert!(fs::read(scene.object_path(id)).unwrap() == contents(index));
    }
}

#[test]
fn a_temporary_upper_layer_is_gone_with_the_mount() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    for (name, kernel) in kernels() {
        let options = MountOptions::default().access(Access::ReadWrite).kernel(kernel);
        scene.mount(&options).unwrap();
        scene.check_files();
        let mut appended = contents(2);
        appended.push(b'+');
        fs::write(scene.file(2), &appended).unwrap();
        assert!(fs::read(scene.file(2)).unwrap() == appended, "{name}");
        scene.unmount();
    }
    scene.mount(&MountOptions::default()).unwrap();
    scene.check_files();
    scene.unmount();
}

#[test]
fn owners_are_mapped() {
    use std::os::unix::fs::MetadataExt as _;
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    let map = IdMap::new(vec![IdRange { container: 0, host: 100_000, size: 10 }]).unwrap();
    let owner = |path: &Path| {
        let stat = fs::metadata(path).unwrap();
        (stat.uid(), stat.gid())
    };
    for (name, kernel) in kernels() {
        let options = MountOptions::default().idmap(map.clone()).kernel(kernel);
        match scene.mount(&options) {
            Err(Error::Mount(MountError::MissingFeature { feature: Feature::MappedOwners, .. })) => {
                skip_or_fail!("needs a kernel that maps owners of EROFS");
            }
            mounted => mounted.unwrap(),
        };
        scene.check_files();
        assert_eq!(owner(&scene.file(0)), (100_000, 100_000), "{name}");
        assert_eq!(owner(&scene.mountpoint()), (100_000, 100_000), "{name}");
        scene.unmount();
        // What is copied up keeps the owner that it was shown with, what is new has its maker's.
        scene.mount(&options.access(Access::ReadWrite).temporary_bytes(Some(1 << 20))).unwrap();
        assert_eq!(owner(&scene.mountpoint()), (100_000, 100_000), "{name}");
        fs::set_permissions(scene.file(0), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(owner(&scene.file(0)), (100_000, 100_000), "{name}");
        fs::write(scene.mountpoint().join("new"), "new").unwrap();
        assert_eq!(owner(&scene.mountpoint().join("new")), (0, 0), "{name}");
        // And there is no more room than was given.
        let full = fs::write(scene.mountpoint().join("large"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{name}");
        scene.unmount();
    }
}

#[test]
fn kernels_before_data_only_layers_stack_old_images() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let old = kernels().pop().unwrap().1.without(Feature::DataOnlyLayers).without(Feature::OverlayVerity);
    let options = MountOptions::default().kernel(old);
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    scene.mount(&options).unwrap();
    // The stubs of the image hide the directories of the store.
    scene.check_files();
    scene.unmount();
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V2);
    let error = scene.plan(&options).unwrap_err();
    assert!(
        matches!(error, Error::Mount(MountError::MissingFeature { feature: Feature::DataOnlyLayers, .. })),
        "{error}"
    );
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_mounted() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    for policy in [VerityPolicy::Require, VerityPolicy::On] {
        let error = scene.plan(&MountOptions::default().verity(policy)).unwrap_err();
        assert!(matches!(error, Error::Mount(MountError::NotVerified)), "{error}");
    }
    let error = scene.plan(&MountOptions::default().upper("/same", "/same")).unwrap_err();
    assert!(matches!(error, Error::Mount(MountError::Contradiction(_))), "{error}");
    let missing = scene.directory.path().join("missing");
    let error = scene.plan(&MountOptions::default()).unwrap().apply(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("open mountpoint: {}", missing.display()));

    // A failure half-way leaves nothing mounted and nothing recorded.
    for (name, kernel) in kernels() {
        let options = MountOptions::default().upper(&missing, scene.mountpoint()).kernel(kernel);
        assert!(scene.mount(&options).is_err(), "{name}");
        assert_eq!((scene.line(), scene.records().len()), (None, 0), "{name}");
    }

    // The kernel never gets to see an image that is not what its name says.
    let path = scene.object_path(&scene.image);
    let mut image = fs::read(&path).unwrap();
    *image.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, image).unwrap();
    assert!(matches!(scene.plan(&MountOptions::default()).unwrap_err(), Error::ObjectMismatch { .. }));
}

#[test]
fn a_mount_in_use_stays_unless_told() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    scene.mount(&MountOptions::default()).unwrap();
    let file = fs::File::open(scene.file(0)).unwrap();
    let error = unmount(&scene.mountpoint(), Some(&scene.repository), UnmountWhen::Unused).unwrap_err();
    assert!(error.hint().unwrap().contains("--lazy"), "{error}");
    assert_eq!(scene.records().len(), 1);
    unmount(&scene.mountpoint(), Some(&scene.repository), UnmountWhen::Lazy).unwrap();
    assert_eq!(scene.line(), None);
    // Whoever has a file open goes on reading, so the image stays a root.
    assert_eq!(io::read_to_string(file).unwrap().into_bytes(), contents(0));
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn a_mounted_image_is_not_garbage() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    scene.mount(&MountOptions::default()).unwrap();
    let writer = scene.repository.writer().unwrap();
    let mut commit = writer.begin();
    commit.remove_image_ref(RefName::new("test").unwrap());
    commit.finish().unwrap();
    let garbage = || GcPlan::new(&scene.repository, &GcOptions::default()).unwrap().objects.len();
    assert_eq!(garbage(), 0);
    scene.unmount();
    assert_eq!(garbage(), 1 + FILES.len());
}

#[test]
fn a_plan_reads_well() {
    if !is_root() {
        skip_or_fail!("needs root");
    }
    let scene = Scene::new(Algorithm::Sha256, true, FormatVersion::V1);
    let kernel = kernels().remove(2).1;
    let plan = scene.plan(&MountOptions::default().access(Access::ReadWrite).kernel(kernel)).unwrap();
    let id = scene.image.to_hex();
    assert_eq!(
        plan.to_string(),
        format!(
            "image: {id}\nnames: EROFS from its file, else a loop device\n\
             contents: overlayfs, layers one by one, by way of the mountpoint, verity off\n\
             changes: kept in memory\n"
        )
    );
    assert_eq!(
        serde_json::to_string(&plan).unwrap(),
        format!(
            "{{\"image\":\"{id}\",\"name\":\"{id}\",\"attach\":\"auto\",\"layers\":\"layers one by one\",\
             \"verity\":\"off\",\"read_only\":false,\"upper\":\"temporary\",\"owners\":[]}}"
        )
    );
}

#[test]
#[ignore = "needs fs-verity; vm_mounts runs it"]
fn guest_verified_mounts_require_verity() {
    for algorithm in Algorithm::ALL {
        let scene = Scene::new(algorithm, false, FormatVersion::V1);
        for (name, kernel) in kernels() {
            for attach in [AttachPolicy::File, AttachPolicy::Loop] {
                let options = MountOptions::default().attach(attach).kernel(kernel.clone());
                let mounted = scene.mount(&options).unwrap();
                assert_eq!(mounted.verity, OverlayVerity::Require, "{name}");
                assert!(scene.line().unwrap().contains("verity=require"));
                scene.check_files();
                assert!(scene.unmount());
            }
        }
    }
}

#[test]
#[ignore = "needs fs-verity; vm_mounts runs it"]
fn guest_a_swapped_object_is_caught_and_its_neighbours_read() {
    for (with_verity, policy) in [
        (false, VerityPolicy::Auto),
        (true, VerityPolicy::Require),
        (true, VerityPolicy::On),
        (true, VerityPolicy::Off),
    ] {
        let scene = Scene::new(Algorithm::Sha512, false, FormatVersion::V1);
        scene.swap_object(&scene.objects[1], with_verity);
        scene.mount(&MountOptions::default().verity(policy)).unwrap();
        assert!(fs::read(scene.file(0)).unwrap() == contents(0));
        assert!(fs::read(scene.file(2)).unwrap() == contents(2));
        match fs::read(scene.file(1)) {
            Ok(read) => {
                assert!(policy == VerityPolicy::Off && read.iter().all(|byte| *byte == b'!'), "{policy:?}");
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{error}");
                assert_ne!(policy, VerityPolicy::Off);
            }
        }
        scene.unmount();
    }
}

#[test]
#[ignore = "needs fs-verity; vm_mounts runs it"]
fn guest_a_swapped_image_is_not_mounted() {
    for with_verity in [false, true] {
        let scene = Scene::new(Algorithm::Sha256, false, FormatVersion::V1);
        scene.swap_object(&scene.image, with_verity);
        let error = scene.plan(&MountOptions::default()).unwrap_err();
        assert!(error.is_corrupt(), "{error}");
    }
}

#[test]
#[ignore = "needs fs-verity; vm_mounts runs it"]
fn guest_verity_that_the_kernel_lacks_is_refused() {
    let scene = Scene::new(Algorithm::Sha256, false, FormatVersion::V1);
    let kernel = Kernel::current().unwrap().clone().without(Feature::OverlayVerity);
    let error = scene.plan(&MountOptions::default().kernel(kernel.clone())).unwrap_err();
    assert_eq!(error.to_string(), "kernel has no overlayfs verity");
    assert!(error.hint().unwrap().contains("--verity off"));
    scene.mount(&MountOptions::default().kernel(kernel).verity(VerityPolicy::Off)).unwrap();
    scene.check_files();
    scene.unmount();
}

#[test]
fn vm_mounts() {
    let Some(machine) = Machine::or_skip() else { return };
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let output = machine
        .program(&program)
        .script(&format!(
            "mkdir -p /dev/shm /scratch/tmp\nmount -t tmpfs shm /dev/shm\n\
             export TMPDIR=/scratch/tmp COMPOSEFS_TEST_REQUIRE=1 RUST_BACKTRACE=0\n\
             {name} --test-threads 1 --include-ignored --skip vm_mounts"
        ))
        .run();
    assert!(output.success().text().contains("test guest_verified_mounts_require_verity ... ok"));
}
