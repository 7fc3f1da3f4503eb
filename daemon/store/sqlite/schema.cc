// Migrations, and the settings of a connection.
#include <filesystem>
#include <iterator>
#include <system_error>

#include <weft/store/sqlite/schema.h>

namespace weft {

// Payloads, results and chunks stand in tables of their own, so that a scan of the jobs does not
// read them. A job's row number is its age. Chunks of all streams of a transaction share one
// segment row: `spans` says what is in `data` and comes first, so that opening reads no chunk.
const Migration kMigrations[] = {
    {1,
     "CREATE TABLE job(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL,"
     " state INTEGER NOT NULL, first_sequence INTEGER NOT NULL, worker_high INTEGER NOT NULL,"
     " worker_low INTEGER NOT NULL, spec BLOB NOT NULL, record BLOB NOT NULL);"
     "CREATE TABLE payload(job INTEGER PRIMARY KEY, data BLOB NOT NULL);"
     "CREATE TABLE result(job INTEGER PRIMARY KEY, data BLOB NOT NULL);"
     "CREATE TABLE segment(id INTEGER PRIMARY KEY, spans BLOB NOT NULL, data BLOB NOT NULL);"
     "CREATE TABLE send(job INTEGER NOT NULL, number INTEGER NOT NULL, sender TEXT NOT NULL,"
     " sender_number INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY(job, number))"
     " WITHOUT ROWID;"},
    // Idempotency keys. One that is its job's id too, as most are, stands here only once the job is
    // gone. expire_ms: NULL while the job is there.
    {2,
     "CREATE TABLE idempotency(queue TEXT NOT NULL, name TEXT NOT NULL, job TEXT NOT NULL,"
     " fingerprint BLOB NOT NULL, expire_ms INTEGER, PRIMARY KEY(queue, name)) WITHOUT ROWID;"
     "CREATE INDEX idempotency_expire ON idempotency(expire_ms) WHERE expire_ms IS NOT NULL;"},
    // Where a job stands in its queue since it was put behind the others; NULL: where it came.
    {3, "ALTER TABLE job ADD COLUMN place INTEGER;"},
    // Schedules. wake_ms: when it is to be looked at; NULL: never.
    {4,
     "CREATE TABLE schedule(name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,"
     " wake_ms INTEGER, record BLOB NOT NULL);"
     "CREATE INDEX schedule_wake ON schedule(wake_ms) WHERE wake_ms IS NOT NULL;"},
};
const int kMigrationCount = static_cast<int>(std::size(kMigrations));

namespace {

Status not_ours(const std::string& path) {
  return make_status(
      StatusCode::kDataLoss,
      "the file " + path + " is not a Weft store: move it away, or choose another path");
}

// Brings the file to schema_version(), each step in a transaction of its own.
Status migrate(Database& database) {
  const int64_t version = database.query_integer("PRAGMA user_version");
  if (!database.ok()) return damaged(database);
  if (version > schema_version()) {
    return make_status(StatusCode::kDataLoss,
                       "the store file " + database.path() + " has schema version " +
                           std::to_string(version) + ", but this weftd knows only " +
                           std::to_string(schema_version()) +
                           ": start the newer weftd that wrote it, or choose another path");
  }
  for (const Migration& migration : kMigrations) {
    if (migration.version <= version) continue;
    database.exec("BEGIN IMMEDIATE");
    database.exec(migration.sql);
    database.exec(("PRAGMA user_version=" + std::to_string(migration.version)).c_str());
    database.exec("COMMIT");
    if (!database.ok()) return damaged(database);
  }
  return absl::OkStatus();
}

}  // namespace

Status damaged(const Database& database) {
  const std::string why = " (" + database.error() + ")";
  switch (database.code() & 0xff) {
    case SQLITE_NOTADB:
      return not_ours(database.path());
    case SQLITE_CORRUPT:
      return make_status(StatusCode::kDataLoss,
                         "the store file " + database.path() + " is damaged" + why +
                             ": restore it from a backup, or move it away to start empty");
    case SQLITE_FULL:
      return retry_error(StatusCode::kUnavailable,
                         "the disk of " + database.path() + " is full: free some space", 1000);
    default:
      return make_status(StatusCode::kPermissionDenied,
                         "the store file " + database.path() + " cannot be used" + why +
                             ": make it and its folder writable for this user, or choose another "
                             "path");
  }
}

StatusOr<std::unique_ptr<Database>> open_for_writing(const std::string& path) {
  StatusOr<std::unique_ptr<Database>> opened = Database::open(path, Database::Mode::kReadWrite);
  if (!opened.ok()) return opened;
  Database& database = **opened;
  const int64_t application_id = database.query_integer("PRAGMA application_id");
  const int64_t tables = database.query_integer("SELECT count(*) FROM sqlite_schema");
  if (!database.ok()) return damaged(database);
  if (sqlite3_db_readonly(database.handle(), "main") != 0) {
    return make_status(StatusCode::kPermissionDenied,
                       "the store file " + path +
                           " is read-only: make it writable for this user, or choose another path");
  }
  if (application_id != kApplicationId) {
    if (application_id != 0 || tables != 0) return not_ours(path);
    database.exec("PRAGMA page_size=4096");
    database.exec(("PRAGMA application_id=" + std::to_string(kApplicationId)).c_str());
  }
  if (database.query_text("PRAGMA journal_mode=WAL") != "wal" && database.ok()) {
    return make_status(StatusCode::kPermissionDenied,
                       "the folder of " + path +
                           " does not allow SQLite's write-ahead log: use a local file system");
  }
  database.exec("PRAGMA synchronous=FULL");
  database.exec("PRAGMA cache_size=-65536");            // KiB: the hot end of every table
  database.exec("PRAGMA journal_size_limit=67108864");  // a burst's log gives its disk space back
  database.exec("PRAGMA temp_store=MEMORY");
  // No mmap: a read error would be a SIGBUS instead of a message.
  sqlite3_wal_autocheckpoint(database.handle(), 0);  // the commit thread chooses the moment
  if (!database.ok()) return damaged(database);
  WEFT_RETURN_IF_ERROR(migrate(database));
  return opened;
}

StatusOr<std::unique_ptr<Database>> open_for_reading(const std::string& path) {
  StatusOr<std::unique_ptr<Database>> opened = Database::open(path, Database::Mode::kReadOnly);
  if (!opened.ok()) return opened;
  (*opened)->exec("PRAGMA cache_size=-16384");
  sqlite3_busy_timeout((*opened)->handle(), 1000);  // only while the log is being recovered
  if (!(*opened)->ok()) return damaged(**opened);
  return opened;
}

}  // namespace weft
