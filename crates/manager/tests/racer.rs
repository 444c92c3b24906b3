//! A user who exchanges what the entering process looks at, while it looks: whatever arrives, arrives where everything is that user's. Root only.
//! `RWSGI_FAULTS=long` makes a hundred thousand journeys.

#[path = "double/entering.rs"]
mod entering;
#[path = "../../../tests/racer/mod.rs"]
mod racer;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use entering::travel;
use racer::{Racer, Unprotected};
use rwsgi_manager::entry::Entry;
use rwsgi_manager::journey::Event;
use rwsgi_manager::place::Place;
use rwsgi_os::ids;

/// Nobody's ids.
const ANN: u32 = 41_001;
const BOB: u32 = 41_002;

/// The user's directories, and what is exchanged there.
struct World(PathBuf);

impl World {
    fn new() -> Self {
        let place = std::env::temp_dir().join(format!("rwsgi-racer-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        let world = Self(place);
        world.directory("", 0, 0o755);
        for (home, uid) in [("ann", ANN), ("bob", BOB)] {
            for directory in [home.to_owned(), format!("{home}/w"), format!("{home}/w/app")] {
                world.directory(&directory, uid, 0o755);
            }
            world.file(&format!("{home}/w/app/app.wsgi"), uid, 0o644);
        }
        // What takes the place of the script,
        world.file("ann/w/app/bobs", BOB, 0o644);
        world.file("ann/w/app/writable", ANN, 0o666);
        world.directory("ann/w/app/directory", ANN, 0o755);
        world.link("../../../bob/w/app/app.wsgi", "ann/w/app/link");
        racer::fifo(&world.0.join("ann/w/app/fifo"));
        racer::device(&world.0.join("device"));
        world.link("../../../device", "ann/w/app/to-device");
        world.link("fifo", "ann/w/app/to-fifo");
        // and of its directory.
        world.link("../../bob/w/app", "ann/w/to-bob");
        for (name, uid, mode) in [("bobs", BOB, 0o755), ("open", ANN, 0o777)] {
            world.directory(&format!("ann/w/{name}"), uid, mode);
            world.file(&format!("ann/w/{name}/app.wsgi"), uid, 0o644);
        }
        world.file("ann/w/file", ANN, 0o644);
        // Says whose directory it finds itself in, and who it is.
        let program = world.0.join("py/bin/python3");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "#!/bin/sh\nexec stat -c %u:%a . /proc/self/.\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn owned(&self, name: &str, uid: u32, mode: u32) {
        let path = self.0.join(name);
        chown(&path, Some(uid), Some(uid)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn directory(&self, name: &str, uid: u32, mode: u32) {
        std::fs::create_dir(self.0.join(name)).unwrap();
        self.owned(name, uid, mode);
    }

    fn file(&self, name: &str, uid: u32, mode: u32) {
        std::fs::write(self.0.join(name), "").unwrap();
        self.owned(name, uid, mode);
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.0.join(name)).unwrap();
        lchown(self.0.join(name), Some(ANN), Some(ANN)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn entry(&self) -> Entry {
        Entry {
            manager: std::process::id(),
            switch: true,
            uid: ANN,
            gid: ANN,
            server_uid: 33,
            user: b"ann".to_vec(),
            user_home: self.text("ann").into(),
            python_home: self.text("py").into(),
            umask: 0o027,
            descriptors: (256, 256),
            place: Some(Place {
                base: self.text("ann/w").into(),
                directory: b"app".to_vec(),
                script: b"app.wsgi".to_vec(),
                ..Place::default()
            }),
            ..Entry::default()
        }
    }

    fn race(&self) -> Racer {
        let (app, w) = (self.0.join("ann/w/app"), self.0.join("ann/w"));
        let scripts = [
            "app.wsgi",
            "bobs",
            "writable",
            "directory",
            "link",
            "fifo",
            "to-device",
            "to-fifo",
        ];
        let directories = ["app", "to-bob", "bobs", "open", "file"];
        Racer::start(
            ANN,
            &self.0.join("device"),
            &[(&app, &scripts), (&w, &directories)],
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What became of the journeys.
#[derive(Default)]
struct Tally {
    begun: u32,
    arrived: u32,
    refused: BTreeMap<u16, u32>,
}

impl Tally {
    /// Whether there is to be another journey.
    fn goes_on(&mut self, journeys: u32, is_late: bool) -> bool {
        // Neither side had it all.
        let was_race = self.arrived > 0 && self.refused.len() > 2;
        let goes_on = self.begun < journeys && !(was_race && is_late);
        self.begun += u32::from(goes_on);
        goes_on
    }

    fn count(&mut self, (said, events): (String, Vec<Event>)) {
        if let Some(Event::Failed(refusal)) = events.last() {
            assert_eq!(said, "", "refused, and something ran: {refusal:?}");
            *self.refused.entry(refusal.code).or_insert(0) += 1;
            return;
        }
        // The directory, as the user made it; and the process.
        let whose: Vec<&str> = said.lines().collect();
        assert_eq!(whose.first(), Some(&"41001:755"), "{said} {events:?}");
        assert!(
            whose.get(1).is_some_and(|who| who.starts_with("41001:")),
            "{said}"
        );
        self.arrived += 1;
    }
}

// R29, C12, C13, C14
#[test]
fn r29_who_exchanges_files_meanwhile_gets_nobody_elses_directory_or_identity() {
    if ids::user_ids().effective != 0 {
        eprintln!("needs root");
        return;
    }
    let (journeys, time) = match std::env::var("RWSGI_FAULTS").as_deref() {
        Ok("long") => (100_000, Duration::MAX),
        // On a busy machine they are fewer.
        _ => (400, Duration::from_secs(8)),
    };
    let _unprotected = Unprotected::new();
    let world = World::new();
    let racer = world.race();
    let entry = world.entry();
    let (tally, begin) = (Mutex::new(Tally::default()), Instant::now());
    // A journey is a chain of three programs, of which one runs at a time: one is under way for each processor.
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while tally.lock().unwrap().goes_on(journeys, begin.elapsed() > time) {
                    let journey = travel(&entry);
                    tally.lock().unwrap().count(journey);
                }
            });
        }
    });
    let Tally { arrived, refused, .. } = tally.into_inner().unwrap();
    let (exchanges, opened) = racer.end();
    let all = arrived + refused.values().sum::<u32>();
    println!(
        "{all} journeys in {:.0?} beside {exchanges} exchanges: {arrived} arrived, refused {refused:?}",
        begin.elapsed()
    );
    assert_eq!(opened, 0, "the device was opened");
    assert!(
        arrived > 0 && refused.len() > 2,
        "{arrived} arrived, refused {refused:?}"
    );
}
