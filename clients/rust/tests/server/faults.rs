//! A program in the seed's style is killed, and goes on.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use durable::sea_orm::DatabaseConnection;

use crate::{ask, connect, execute, unique, url};

/// Beside this test, in the folder of the examples.
fn program() -> PathBuf {
    let here = std::env::current_exe().expect("a path");
    here.parent().and_then(|deps| deps.parent()).expect("deps").join("examples/seed_style")
}

fn spawn(name: &str) -> Child {
    Command::new(program()).arg(url()).arg(name).spawn().expect("cargo build --examples")
}

async fn effects(db: &DatabaseConnection, name: &str) -> usize {
    ask(db, &format!("SELECT count(*) FROM rust_effects WHERE workflow = '{name}'")).await.parse().expect("a number")
}

#[tokio::test]
async fn a_killed_program_goes_on_where_it_stopped() {
    let db = connect().await;
    execute(&db, "CREATE TABLE IF NOT EXISTS rust_effects (workflow text, step text)").await;
    let name = unique("killed");
    for at in [2, 5, 8] {
        let mut child = spawn(&name);
        while effects(&db, &name).await < at {
            assert!(child.try_wait().expect("a status").is_none(), "it ended before it was killed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        child.kill().expect("it runs");
        child.wait().expect("its end");
    }
    let status = spawn(&name).wait().expect("its end");
    assert!(status.success());
    let id = ask(&db, &format!("SELECT id FROM durable.workflow WHERE name = '{name}'")).await;
    assert_eq!(ask(&db, &format!("durable.output('{id}')")).await, "10");
    let done = effects(&db, &name).await;
    // a step that was killed runs again; one that a recovered run is in is not cut off by the program
    assert!((10..=13).contains(&done), "{done} effects");
    let kept = format!("SELECT count(*) FROM rust_effects WHERE workflow = '{name}' AND step = 'booked'");
    assert_eq!(ask(&db, &kept).await, "1", "a transaction is never done twice");
}
