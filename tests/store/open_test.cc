// Files that cannot be a store are refused with what to do, and nothing is changed in them.
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include <weft/store/sqlite/schema.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

class OpenStore : public StoreFile {
 protected:
  void write_file(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }
  std::string file_bytes() {
    std::ostringstream out;
    out << std::ifstream(path_, std::ios::binary).rdbuf();
    return out.str();
  }
  void exec(const char* sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
  }
  void make_store() {
    session([](Harness& h) -> Task<void> {
      for (int i = 0; i < 200; ++i) co_await h.add(Harness::make_spec("q", std::string(500, 'x')));
    });
  }
  void expect_refused(StatusCode code, const std::string& part) {
    const Status status = open_status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder_));
  }
};

TEST_F(OpenStore, UrlNamesTheStore) {
  const auto memory = open_store("memory:");
  const auto sqlite = open_store("sqlite:" + folder_ + "/new/folder/weft.db");
  EXPECT_TRUE(memory.ok()) << memory.status();
  EXPECT_TRUE(sqlite.ok()) << sqlite.status();
  for (const char* url : {"", "sqlite", "sqlite:", "mysql://x", "memory", "redis:x"}) {
    const auto refused = open_store(url);
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("sqlite:PATH"));
  }
}

TEST_F(OpenStore, SecondOpenerIsRefusedWithThePid) {
  session([this](Harness&) -> Task<void> {
    expect_refused(StatusCode::kAlreadyExists, "process " + std::to_string(getpid()));
    co_return;
  });
  EXPECT_TRUE(open_status().ok());
}

TEST_F(OpenStore, AFileIsLockedUnderAllItsNames) {
  namespace fs = std::filesystem;
  const std::string real = path_;
  fs::create_symlink(folder_, folder_ + "/folder");
  fs::create_symlink("weft.db", folder_ + "/link.db");  // leads nowhere yet
  fs::create_symlink("folder/link.db", folder_ + "/chain.db");
  const std::string names[] = {real,
                               folder_ + "/link.db",
                               folder_ + "/chain.db",
                               folder_ + "/folder/weft.db",
                               folder_ + "/./folder/weft.db",
                               fs::relative(real).string()};
  for (const std::string& held : names) {
    path_ = held;
    session([&](Harness&) -> Task<void> {
      for (const std::string& name : names) {
        const Status status = open_sqlite_store(name).status();
        EXPECT_EQ(status.code(), StatusCode::kAlreadyExists) << held << " and " << name;
      }
      co_return;
    });
  }
  EXPECT_FALSE(fs::exists(folder_ + "/link.db.lock"));
}

TEST_F(OpenStore, LinksInACircleAreRefused) {
  std::filesystem::create_symlink("b.db", folder_ + "/a.db");
  std::filesystem::create_symlink("a.db", folder_ + "/b.db");
  path_ = folder_ + "/a.db";
  expect_refused(StatusCode::kPermissionDenied, "cannot be opened");
}

TEST_F(OpenStore, GarbageIsNotAStore) {
  std::string garbage;
  for (int i = 0; i < 100'000; ++i) garbage += static_cast<char>(i * 7919 >> 3);
  write_file(garbage);
  expect_refused(StatusCode::kDataLoss, "is not a Weft store: move it away");
  EXPECT_TRUE(file_bytes() == garbage);
}

TEST_F(OpenStore, AnotherProgramsDatabaseIsNotAStore) {
  exec("CREATE TABLE photos(id); PRAGMA application_id=7");
  const std::string before = file_bytes();
  expect_refused(StatusCode::kDataLoss, "is not a Weft store");
  EXPECT_TRUE(file_bytes() == before);
}

TEST_F(OpenStore, DamagedFileIsRefused) {
  make_store();
  std::string bytes = file_bytes();
  for (size_t i = 4096; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31);
  write_file(bytes);
  expect_refused(StatusCode::kDataLoss, "damaged");
}

TEST_F(OpenStore, TruncatedFileIsRefused) {
  make_store();
  const std::string bytes = file_bytes();
  write_file(bytes.substr(0, 8192));
  expect_refused(StatusCode::kDataLoss, "damaged");
}

TEST_F(OpenStore, EmptyFileBecomesAStore) {
  write_file("");
  const Status status = open_status();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(OpenStore, NewerSchemaIsRefused) {
  make_store();
  exec("PRAGMA user_version=999");
  expect_refused(StatusCode::kDataLoss, "schema version 999");
  exec(("PRAGMA user_version=" + std::to_string(schema_version())).c_str());
  EXPECT_TRUE(open_status().ok());
}

TEST_F(OpenStore, MigrationsRiseByOneAndReachAnEmptyFile) {
  for (int i = 0; i < kMigrationCount; ++i) EXPECT_EQ(kMigrations[i].version, i + 1);
  EXPECT_TRUE(open_status().ok());
  const auto database = open_for_reading(path_);
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_EQ((*database)->query_integer("PRAGMA user_version"), schema_version());
  EXPECT_EQ((*database)->query_integer("PRAGMA application_id"), kApplicationId);
}

TEST_F(OpenStore, UnusableFolderIsRefused) {
  write_file("a file");
  path_ += "/below/a/file.db";
  expect_refused(StatusCode::kPermissionDenied, "make it writable");
  path_ = folder_;
  expect_refused(StatusCode::kPermissionDenied, "cannot be opened");
}

TEST_F(OpenStore, ReadOnlyFolderIsRefused) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  ASSERT_EQ(chmod(folder_.c_str(), 0555), 0);
  expect_refused(StatusCode::kPermissionDenied, "writable");
  chmod(folder_.c_str(), 0755);
}

}  // namespace
}  // namespace weft::testing
