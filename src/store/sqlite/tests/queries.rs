//! `.sqlx/`, from which queries are compiled, says what the database of `migrations/` says.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

/// The Rust files below a folder, one after the other.
fn source(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("src can be read");
    let paths = entries.map(|entry| entry.expect("src can be read").path());
    let read = |path: PathBuf| match path.extension() {
        None => source(&path),
        Some(extension) if extension == "rs" => std::fs::read_to_string(&path).expect("src can be read"),
        Some(_) => String::new(),
    };
    paths.map(read).collect()
}

#[tokio::test]
async fn the_data_of_the_queries_is_up_to_date() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let database = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await
        .expect("it is in memory");
    super::super::open::MIGRATIONS
        .run(&database)
        .await
        .expect("they are valid");
    let source = source(&root.join("src/store"));
    let mut queries = 0;
    for file in std::fs::read_dir(root.join(".sqlx")).expect("it is part of the source") {
        let file = std::fs::read(file.expect("it can be read").path()).expect("it can be read");
        let data: serde_json::Value = serde_json::from_slice(&file).expect("sqlx wrote it");
        let query = data["query"].as_str().expect("sqlx wrote it").to_owned();
        assert!(
            source.contains(&query),
            "nobody asks this any more, run `make sqlx`: {query}"
        );
        let described = database.describe(AssertSqlSafe(query.clone()).into_sql_str()).await;
        let described = serde_json::to_value(described.expect("the tables are there")).expect("sqlx reads it");
        assert_eq!(described, data["describe"], "run `make sqlx`: {query}");
        queries += 1;
    }
    assert!(queries > 20);
}
