use rustix::fs::CWD;

use super::*;
use crate::{
    digest::{Algorithm, ObjectId},
    name::RefName,
    progress::Silent,
    repo::{GcOptions, GcPlan, InitOptions, OpenOptions, Wait, init},
};

const NOW: Wait = Wait::AtMost(std::time::Duration::ZERO);

struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
        Self { directory }
    }

    fn open(&self) -> Repository {
        Repository::open(CWD, self.directory.path(), &OpenOptions::default()).unwrap()
    }

    /// Collects as another process would, if the lock is free.
    fn collect(&self) -> Result<crate::repo::GcReport> {
        let repository = self.open();
        let plan = GcPlan::new(&repository, &GcOptions::default())?;
        plan.apply(&repository.sweeper(NOW)?, &Silent)
    }

    fn records(&self) -> usize {
        std::fs::read_dir(self.directory.path().join(".cfs/pulls")).map_or(0, Iterator::count)
    }

    fn refs(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("streams/refs/x-pulls")).map_or(0, Iterator::count)
    }
}

fn layer(writer: &Writer) -> (StreamName, ObjectId) {
    let built =
        crate::splitstream::Builder::new(Algorithm::Sha256, crate::splitstream::ContentType::OCI_LAYER);
    let bytes = built.unwrap().finish().unwrap().into_bytes().unwrap();
    (StreamName::new("oci-layer-sha256:00").unwrap(), writer.store_bytes(&bytes).unwrap().id)
}

#[test]
fn the_lock_is_free_in_between_and_held_before_and_after() {
    let lab = Lab::new();
    let writer = lab.open().into_writer().unwrap();
    let session = writer.session().unwrap();
    assert!(matches!(lab.collect(), Err(Error::InUse { .. })));
    session
        .without_lock(|| {
            lab.collect().unwrap();
            // Two that wait for something else share the lock of one opening.
            let other = writer.session().unwrap();
            assert!(matches!(lab.collect(), Err(Error::InUse { .. })));
            other.without_lock(|| lab.collect().unwrap()).unwrap();
            session.with_lock(|| assert!(lab.collect().is_err())).unwrap();
            assert!(lab.collect().is_err(), "the other one needs it");
            drop(other);
            assert_eq!(lab.records(), 1);
            lab.collect().unwrap();
        })
        .unwrap();
    assert!(matches!(lab.collect(), Err(Error::InUse { .. })));
    assert_eq!(session.releases(), 1);
    drop(session);
    assert!(matches!(lab.collect(), Err(Error::InUse { .. })), "a plain writer needs it all the time");
    drop(writer);
    lab.collect().unwrap();
    assert_eq!(lab.records(), 0);
}

#[test]
fn what_a_session_stored_or_finished_is_spared_until_it_ends() {
    let lab = Lab::new();
    let writer = lab.open().into_writer().unwrap();
    let old = writer.store_bytes(b"garbage from before").unwrap().id;
    // The clocks of file systems tick slowly, and what is made within a tick of the session counts as its own.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let session = writer.session().unwrap();
    let (name, id) = layer(&writer);
    let kept = session.without_lock(|| {
        let new = writer.store_bytes(b"stored while the session is at work").unwrap().id;
        session
            .with_lock(|| {
                let mut commit = writer.begin();
                commit.stream(name.clone(), id);
                commit.finish().unwrap();
                session.keep([&name]).unwrap();
            })
            .unwrap();
        let report = lab.collect().unwrap();
        assert_eq!((report.objects_removed, report.pulls_reaped), (1, 0));
        new
    });
    let new = kept.unwrap();
    assert!(!writer.has_object(&old).unwrap() && !writer.has_seen(&old));
    assert!(writer.has_object(&new).unwrap() && writer.stream_entry(&name).unwrap().is_some());
    assert_eq!((lab.records(), lab.refs()), (1, 1));
    drop((session, writer));
    assert_eq!((lab.records(), lab.refs()), (0, 0));
    assert_eq!(lab.collect().unwrap().objects_removed, 2);
}

#[test]
fn records_of_the_dead_are_reaped_and_others_stay() {
    let lab = Lab::new();
    let writer = lab.open().into_writer().unwrap();
    let (name, id) = layer(&writer);
    let boot = BootId::current().unwrap();
    let mut commit = writer.begin();
    commit.stream(name.clone(), id);
    for record in [format!("{boot}-1-0-0"), format!("{boot}-1-1-0"), "mine".to_owned()] {
        commit.stream_ref(RefName::new(format!("x-pulls/{record}")).unwrap(), &name);
    }
    commit.finish().unwrap();
    drop(writer);
    let path = lab.directory.path().join(".cfs/pulls");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join(format!("{boot}-1-0")), "").unwrap();
    std::fs::write(path.join("mine"), "").unwrap();
    let plan = GcPlan::new(&lab.open(), &GcOptions::default()).unwrap();
    assert_eq!(plan.temporaries, [format!(".cfs/pulls/{boot}-1-0")]);
    let report = lab.collect().unwrap();
    assert_eq!((report.pulls_reaped, report.temporaries_removed, report.objects_removed), (2, 1, 0));
    assert_eq!((lab.records(), lab.refs()), (1, 1));
}

#[test]
fn a_repository_made_anew_is_noticed() {
    let lab = Lab::new();
    let writer = lab.open().into_writer().unwrap();
    let session = writer.session().unwrap();
    let result = session.without_lock(|| {
        let options = InitOptions::new(Algorithm::Sha512).insecure(true).reset_metadata(true);
        init(CWD, lab.directory.path(), &options).unwrap();
    });
    assert!(matches!(result, Err(Error::MadeAnew { .. })), "{result:?}");
}

#[test]
fn a_session_can_do_without_its_record() {
    let lab = Lab::new();
    std::fs::write(lab.directory.path().join(".cfs"), "somebody else's").unwrap();
    let writer = lab.open().into_writer().unwrap();
    let session = writer.session().unwrap();
    let (name, _) = layer(&writer);
    session.without_lock(|| lab.collect().map(drop)).unwrap().unwrap();
    session.keep([&name]).unwrap();
    assert_eq!(lab.refs(), 0);
}
