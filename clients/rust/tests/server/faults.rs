//! A program in the seed's style is killed, and goes on.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use durable::sea_orm::{Database, DatabaseConnection};

use crate::{ask, connect, execute, unique, url_of};

/// Beside this test, in the folder of the examples.
fn program() -> PathBuf {
    let here = std::env::current_exe().expect("a path");
    here.parent().and_then(|deps| deps.parent()).expect("deps").join("examples/seed_style")
}

/// A database of its own: the program takes over whatever is silent for a moment.
async fn database() -> String {
    let name = format!("rust_faults_{}", std::process::id());
    execute(&connect().await, &format!("CREATE DATABASE {name}")).await;
    let url = url_of(&name);
    let db = Database::connect(&url).await.expect("a database");
    execute(&db, "CREATE EXTENSION durable").await;
    execute(&db, "CREATE TABLE rust_effects (workflow text, step text)").await;
    url
}

fn spawn(url: &str, name: &str) -> Child {
    Command::new(program()).arg(url).arg(name).spawn().expect("cargo build --examples")
}

async fn effects(db: &DatabaseConnection, name: &str) -> usize {
    ask(db, &format!("SELECT count(*) FROM rust_effects WHERE workflow = '{name}'")).await.parse().expect("a number")
}

#[tokio::test]
async fn a_killed_program_goes_on_where_it_stopped() {
    let url = database().await;
    let db = durable::init_db(&url).await.expect("a server with the extension");
    let name = unique("killed");
    for at in [2, 5, 8] {
        let mut child = spawn(&url, &name);
        while effects(&db, &name).await < at {
            assert!(child.try_wait().expect("a status").is_none(), "it ended before it was killed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        child.kill().expect("it runs");
        child.wait().expect("its end");
    }
    let status = spawn(&url, &name).wait().expect("its end");
    assert!(status.success());
    let id = ask(&db, &format!("SELECT id FROM durable.workflow WHERE name = '{name}'")).await;
    assert_eq!(ask(&db, &format!("durable.output('{id}')")).await, "10");
    let done = effects(&db, &name).await;
    // a step that was killed runs again; one that a recovered run is in is not cut off by the program
    assert!((10..=13).contains(&done), "{done} effects");
    let kept = format!("SELECT count(*) FROM rust_effects WHERE workflow = '{name}' AND step = 'booked'");
    assert_eq!(ask(&db, &kept).await, "1", "a transaction is never done twice");
}
