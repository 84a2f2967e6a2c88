//! The runner of the conformance cases: `runner CASE.json` (clients/conformance/README.md).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use durable::sea_orm::{ConnectionTrait, Database, DbBackend, Statement, Value as Argument};
use durable::serde_json::{self, Map, Value, json};
use durable::{Ctx, DurableError, Failure, RetryPolicy, Step, StepOptions, Wait, Worker};

type Operation = Map<String, Value>;
type Programs = HashMap<String, Vec<Operation>>;
type Results = HashMap<String, Value>;
type Outcome<T> = Result<T, DurableError>;

const QUEUE: &str = "conformance";
const KINDS: &str = "result step transaction sleep signal callback child map gather first emit patched uuid random now \
                     count_down fail return";

/// What is not the client's business goes by a connection of its own.
async fn direct(sql: &str, arguments: Vec<Argument>) -> Option<bool> {
    let settings = std::env::var("CONFORMANCE_DIRECT").unwrap_or_default();
    let settings: HashMap<&str, &str> = settings.split_whitespace().filter_map(|one| one.split_once('=')).collect();
    let url = format!(
        "postgres://{}@localhost/{}?host={}&port={}",
        settings["user"], settings["dbname"], settings["host"], settings["port"]
    );
    let db = Database::connect(url).await.ok()?;
    let row = db.query_one(Statement::from_sql_and_values(DbBackend::Postgres, sql, arguments)).await.ok()??;
    let _ = db.close().await;
    row.try_get_by_index(0).ok()
}

async fn fault(operation: &Operation, name: &str, when: &str) {
    let Some(kind) = operation.get("fault").and_then(|fault| fault.get(when)).and_then(Value::as_str) else { return };
    loop {
        let point = format!("{name}:{when}");
        let struck = direct("SELECT conformance.fault($1, $2)", vec![point.into(), kind.into()]).await;
        if struck == Some(true) || (struck.is_some() && kind == "drain") {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn text(operation: &Operation, key: &str) -> String {
    operation.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn time(operation: &Operation, key: &str) -> Option<Duration> {
    operation.get(key).and_then(Value::as_f64).map(Duration::from_secs_f64)
}

/// The kind of an operation, and its name.
fn named(operation: &Operation) -> (&'static str, String) {
    let kind = KINDS.split(' ').find(|kind| operation.contains_key(*kind)).unwrap_or_default();
    let name = match operation.get(kind) {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) if kind == "signal" => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|")
        }
        _ => kind.to_owned(),
    };
    (kind, name)
}

/// What its result is called.
fn called(operation: &Operation) -> String {
    operation.get("as").and_then(Value::as_str).map_or_else(|| named(operation).1, str::to_owned)
}

fn filled(value: Option<&Value>, results: &Results) -> Value {
    match value {
        Some(Value::Array(items)) => items.iter().map(|item| filled(Some(item), results)).collect(),
        Some(Value::Object(fields)) => match fields.get("$").and_then(Value::as_str) {
            Some(name) => results.get(name).cloned().unwrap_or_default(),
            None => fields.iter().map(|(key, item)| (key.clone(), filled(Some(item), results))).collect(),
        },
        value => value.cloned().unwrap_or_default(),
    }
}

fn options(operation: &Operation) -> StepOptions {
    let retry = operation.get("retry").map(|retry| {
        let number = |key: &str| retry.get(key).and_then(Value::as_f64);
        RetryPolicy {
            max_retries: retry.get("max").and_then(Value::as_u64).and_then(|max| max.try_into().ok()).unwrap_or(0),
            initial_backoff: Duration::from_secs_f64(number("backoff").unwrap_or(0.0)),
            backoff_multiplier: number("multiplier").unwrap_or(2.0),
        }
    });
    let options = retry.map_or_else(StepOptions::default, StepOptions::from);
    match time(operation, "timeout") {
        Some(time) => options.timeout(time),
        None => options,
    }
}

fn caught(error: DurableError) -> Outcome<Value> {
    match error {
        DurableError::Failed(failure) => Ok(json!({
            "caught": "Failed", "type": failure.kind, "message": failure.message, "attempts": failure.attempts,
        })),
        DurableError::Timeout(_) => Ok(json!({"caught": "TimedOut"})),
        DurableError::Cancelled(_) => Ok(json!({"caught": "Cancelled"})),
        error => Err(error),
    }
}

/// The outside effect of a step, and how it ends.
async fn effect(name: String, operation: Operation, value: Value, step: Step, place: String) -> Outcome<Value> {
    fault(&operation, &place, "before").await;
    let sql = "INSERT INTO conformance.ledger (name, step_id, attempt, value) VALUES ($1, $2, $3, $4) RETURNING true";
    let arguments = || vec![name.clone().into(), step.id.into(), step.attempt.into(), value.clone().into()];
    while direct(sql, arguments()).await.is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fault(&operation, &place, "in").await;
    if let Some(time) = time(&operation, "takes") {
        tokio::time::sleep(time).await;
    }
    if i64::from(step.attempt) > operation.get("fail").and_then(Value::as_i64).unwrap_or(0) {
        return Ok(value);
    }
    let message = operation.get("error").and_then(Value::as_str).unwrap_or("boom");
    let mut failure = Failure::new("Boom", message);
    if let Some(detail) = operation.get("detail") {
        failure = failure.detail(detail.clone());
    }
    if operation.contains_key("fatal") {
        failure = failure.fatal();
    }
    if let Some(pause) = time(&operation, "after") {
        failure = failure.retry_after(pause);
    }
    Err(failure.into())
}

struct Program {
    ctx: Ctx,
    programs: Arc<Programs>,
    results: Results,
}

async fn interpret(programs: Arc<Programs>, name: String, ctx: Ctx) -> Outcome<Value> {
    let input = ctx.input().await?;
    let operations = programs.get(&name).cloned().unwrap_or_default();
    let mut program = Program { ctx, programs, results: Results::from([("input".to_owned(), input)]) };
    Ok(program.run(&operations).await?.unwrap_or_default())
}

impl Program {
    /// What `return` gives; nothing if the program goes on.
    fn run<'a>(
        &'a mut self,
        operations: &'a [Operation],
    ) -> Pin<Box<dyn Future<Output = Outcome<Option<Value>>> + Send + 'a>> {
        Box::pin(async move {
            for operation in operations {
                let (kind, name) = named(operation);
                if kind == "return" {
                    return Ok(Some(filled(operation.get("return"), &self.results)));
                }
                if kind == "fail" {
                    let failure = Failure::new("Boom", name);
                    return Err(if operation.contains_key("fatal") { failure.fatal() } else { failure }.into());
                }
                if kind != "step" && kind != "transaction" {
                    fault(operation, &name, "before").await;
                }
                let result = match self.perform(kind, &name, operation).await {
                    Err(error) if operation.contains_key("catch") => caught(error)?,
                    outcome => outcome?,
                };
                if kind == "count_down" && result == true {
                    return Ok(Some(Value::Null));
                }
                self.results.insert(called(operation), result.clone());
                if kind == "patched" {
                    let way = operation.get(if result == true { "then" } else { "else" });
                    let way: Vec<Operation> = serde_json::from_value(way.cloned().unwrap_or_default())?;
                    if let Some(value) = self.run(&way).await? {
                        return Ok(Some(value));
                    }
                }
                fault(operation, &name, "after").await;
            }
            Ok(None)
        })
    }

    async fn perform(&self, kind: &str, name: &str, operation: &Operation) -> Outcome<Value> {
        let ctx = &self.ctx;
        let parts = || -> Vec<Operation> {
            serde_json::from_value(operation.get(kind).cloned().unwrap_or_default()).unwrap_or_default()
        };
        let run = |step: Step| {
            let value = filled(operation.get("returns"), &self.results);
            effect(name.to_owned(), operation.clone(), value, step, name.to_owned())
        };
        match kind {
            "step" => ctx.step_with(name, options(operation), run).await,
            "transaction" => {
                let written = filled(operation.get("writes"), &self.results);
                let row = vec![name.into(), written.into()];
                let sql = "INSERT INTO conformance.rows (name, value) VALUES ($1, $2)";
                let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, row);
                let value = filled(operation.get("returns"), &self.results);
                let (name, operation) = (name.to_owned(), operation.clone());
                let options = options(&operation);
                ctx.transaction_with(&name.clone(), options, move |tx, step| {
                    let run = effect(name.clone(), operation.clone(), value.clone(), step, name.clone());
                    let statement = statement.clone();
                    Box::pin(async move {
                        tx.execute(statement).await?;
                        run.await
                    })
                })
                .await
            }
            "map" => {
                let items = filled(operation.get("items"), &self.results);
                let items: Vec<(usize, Value)> = items.as_array().into_iter().flatten().cloned().enumerate().collect();
                let at_once = operation.get("concurrency").and_then(Value::as_u64).unwrap_or(10);
                let run = |step: Step, (index, item): (usize, Value)| {
                    let fails = operation.get("fail").and_then(|fail| fail.get(index.to_string()));
                    let mut one = Operation::from_iter([("fail".to_owned(), fails.cloned().unwrap_or_default())]);
                    if let Some(fault) = operation.get("fault") {
                        one.insert("fault".to_owned(), fault.clone());
                    }
                    effect(format!("{name}[{index}]"), one, item, step, name.to_owned())
                };
                let done = ctx.map(name, items, at_once.try_into().unwrap_or(10), options(operation), run).await?;
                Ok(Value::Array(done))
            }
            "result" => {
                let (program, input) = (text(operation, "program"), filled(operation.get("input"), &self.results));
                ctx.step(name, || async {
                    let handle = Ctx::enqueue(ctx.db(), name, QUEUE, &program, Some(input)).await?;
                    handle.result(Some(Duration::from_secs(30))).await
                })
                .await
            }
            "gather" => Ok(Value::Array(ctx.gather(parts().iter().map(|part| self.begin(part))).await?)),
            "first" => {
                let parts = parts();
                let waits: Vec<Wait<'_, Value>> = parts.iter().map(|part| self.begin(part)).collect();
                let places: Vec<_> = waits.iter().map(Wait::place).collect();
                let found = ctx.first(&called(operation), &places).await?;
                Ok(called(&parts[found]).into())
            }
            "emit" => Ok(ctx.emit(name, &filled(operation.get("payload"), &self.results)).await?.into()),
            "patched" => Ok(ctx.patched(name).await?.into()),
            "uuid" => Ok(ctx.uuid().to_string().into()),
            "random" => Ok(ctx.random().into()),
            "now" => Ok(ctx.now().await?.to_rfc3339_opts(SecondsFormat::Millis, true).into()),
            "count_down" => match self.results["input"].as_i64() {
                Some(n) if n > 0 => ctx.continue_as(&(n - 1)).await.map(|()| true.into()),
                _ => Ok(Value::Null),
            },
            "child" if !operation.contains_key("queue") => {
                let (programs, program) = (self.programs.clone(), text(operation, "program"));
                let input = filled(operation.get("input"), &self.results);
                let run = |ctx| -> Pin<Box<dyn Future<Output = Outcome<Value>> + Send>> {
                    Box::pin(interpret(programs, program, ctx))
                };
                ctx.run_child(name, Some(input), run).await
            }
            _ => self.begin(operation).await,
        }
    }

    fn begin(&self, operation: &Operation) -> Wait<'_, Value> {
        let (ctx, timeout) = (&self.ctx, time(operation, "timeout"));
        let (kind, name) = named(operation);
        match kind {
            "sleep" => ctx.sleep(&name, time(operation, "seconds").unwrap_or_default()).read_as(),
            "signal" => {
                let names: Vec<&str> = name.split('|').collect();
                ctx.signals::<Value>(&names, timeout).read_as()
            }
            "callback" => ctx.callback(&name, timeout),
            "child" => {
                let input = filled(operation.get("input"), &self.results);
                ctx.queued_child(&name, QUEUE, &text(operation, "program"), Some(input))
            }
            _ => panic!("unknown operation {operation:?}"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: runner CASE.json")?;
    let case: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let programs: Arc<Programs> = Arc::new(serde_json::from_value(case["programs"].clone())?);
    let variable = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let executor = variable("CONFORMANCE_NAME", "rust");
    let url = format!(
        "postgres://{}@localhost/{}?host={}&port={}&application_name={executor}",
        variable("PGUSER", "postgres"),
        variable("PGDATABASE", "postgres"),
        variable("PGHOST", "/tmp"),
        variable("PGPORT", "5432"),
    );
    let mut worker = Worker::new(&url, &[QUEUE]).await?.executor_id(&executor).patience(Duration::from_secs(1));
    for name in programs.keys() {
        let (programs, name) = (programs.clone(), name.clone());
        worker = worker.workflow(&name.clone(), move |ctx| interpret(programs.clone(), name.clone(), ctx));
    }
    worker.run().await?;
    Ok(())
}
