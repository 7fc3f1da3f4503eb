// The thin layer over SQLite's C calls.
#include <weft/base/check.h>
#include <weft/store/sqlite/database.h>

namespace weft {

StatusOr<std::unique_ptr<Database>> Database::open(const std::string& path, Mode mode) {
  // SQLite's memory statistics take a lock at every allocation, and nobody reads them. Refused, and
  // harmless, once SQLite is in use.
  [[maybe_unused]] static const int configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  sqlite3* handle = nullptr;
  // NOMUTEX: a connection is used by one thread at a time.
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  if (code != SQLITE_OK) {
    const std::string why = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
    sqlite3_close(handle);
    return make_status(
        StatusCode::kPermissionDenied,
        "the store file " + path + " cannot be opened (" + why +
            "): make it readable and writable for this user, or choose another path");
  }
  sqlite3_extended_result_codes(handle, 1);
  return std::unique_ptr<Database>(new Database(handle, path));
}

Database::~Database() {
  const int code = sqlite3_close(handle_);
  WEFT_CHECK(code == SQLITE_OK, "statements end before their database");
}

bool Database::fatal() const {
  switch (code_ & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return true;
    case SQLITE_IOERR:
      // After a failed fsync nobody knows what is on the disk; trying again would only hide it.
      return code_ == SQLITE_IOERR_FSYNC || code_ == SQLITE_IOERR_DIR_FSYNC ||
             code_ == SQLITE_IOERR_CORRUPTFS;
    default:
      return false;
  }
}

void Database::clear_error() {
  code_ = SQLITE_OK;
  error_.clear();
}

void Database::note(int code) {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE || !ok()) return;
  code_ = code;
  error_ = sqlite3_errmsg(handle_);
}

void Database::note_damage(std::string what) {
  if (!ok()) return;
  code_ = SQLITE_CORRUPT;
  error_ = std::move(what);
}

void Database::exec(const char* sql) {
  if (ok()) note(sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr));
}

int64_t Database::query_integer(const char* sql) {
  Statement statement(*this, sql);
  return statement.next() ? statement.integer(0) : 0;
}

std::string Database::query_text(const char* sql) {
  Statement statement(*this, sql);
  return statement.next() ? std::string(statement.bytes(0)) : std::string();
}

Statement::Statement(Database& database, const char* sql) : database_(database) {
  if (!database.ok()) return;
  database.note(sqlite3_prepare_v3(database.handle(), sql, -1, SQLITE_PREPARE_PERSISTENT,
                                   &statement_, nullptr));
}

Statement& Statement::bind(int index, int64_t value) {
  sqlite3_bind_int64(statement_, index, value);
  return *this;
}

Statement& Statement::bind_null(int index) {
  sqlite3_bind_null(statement_, index);
  return *this;
}

Statement& Statement::bind_text(int index, std::string_view text) {
  sqlite3_bind_text64(statement_, index, text.data() != nullptr ? text.data() : "", text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view bytes) {
  sqlite3_bind_blob64(statement_, index, bytes.data() != nullptr ? bytes.data() : "", bytes.size(),
                      SQLITE_STATIC);
  return *this;
}

void Statement::run() {
  while (next()) {
  }
}

bool Statement::next() {
  if (!database_.ok() || statement_ == nullptr) {
    sqlite3_reset(statement_);
    return false;
  }
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  database_.note(code);
  sqlite3_reset(statement_);
  return false;
}

std::string_view Statement::bytes(int column) {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr
             ? std::string_view()
             : std::string_view(static_cast<const char*>(data), static_cast<size_t>(size));
}

}  // namespace weft
