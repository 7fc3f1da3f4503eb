// Database and Statement: SQLite with the first error kept, so that a transaction is checked once.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <weft/base/status.h>

namespace weft {

// After the first error every statement does nothing and yields no row until clear_error(): a
// transaction runs through and looks at ok() at its end. Thread: one at a time.
class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  static StatusOr<std::unique_ptr<Database>> open(const std::string& path, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* handle() { return handle_; }
  const std::string& path() const { return path_; }
  bool ok() const { return code_ == SQLITE_OK; }
  // An extended result code of SQLite, and its text.
  int code() const { return code_; }
  const std::string& error() const { return error_; }
  // Nothing but a restart can mend it: the data on disk is not what it should be.
  bool fatal() const;
  // What was read is not what was written.
  bool damaged() const { return (code_ & 0xff) == SQLITE_CORRUPT; }
  void clear_error();
  void note(int code);
  // A row does not hold what it should: `what`, in a few words. Fatal, too.
  void note_damage(std::string what);

  void exec(const char* sql);
  // The first column of the first row; 0 when there is none.
  int64_t query_integer(const char* sql);
  std::string query_text(const char* sql);

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  sqlite3* handle_;
  std::string path_;
  int code_ = SQLITE_OK;
  std::string error_;
};

// A prepared statement. Lifetime: ends before its database; bound bytes outlive run() or reset().
class Statement {
 public:
  Statement(Database& database, const char* sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, int64_t value);
  Statement& bind_null(int index);
  Statement& bind_text(int index, std::string_view text);
  Statement& bind_blob(int index, std::string_view bytes);
  // To the end; then ready for the next use.
  void run();
  // True: a row can be read, until the next call. False: at the end, and ready for the next use.
  bool next();
  void reset() { sqlite3_reset(statement_); }

  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  bool is_null(int column) { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  std::string_view bytes(int column);

 private:
  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace weft
