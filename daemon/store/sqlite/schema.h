// The tables of a store file: how it is opened, recognised, and brought up to this version.
#pragma once

#include <memory>
#include <string>

#include <weft/base/status.h>
#include <weft/store/sqlite/database.h>

namespace weft {

// In the file's header, so that another program's database is not taken for ours.
inline constexpr int64_t kApplicationId = 0x57656674;  // "Weft"

// One step of the schema. A released step is never changed: a new one is added behind it.
struct Migration {
  int version;
  const char* sql;
};
extern const Migration kMigrations[];
extern const int kMigrationCount;
inline int schema_version() { return kMigrations[kMigrationCount - 1].version; }

// Opens the file for writing, made new when it is missing, with every migration applied. Looks at
// the header and the schema only.
// Errors: PERMISSION_DENIED; DATA_LOSS for another program's file, a damaged or a newer one.
StatusOr<std::unique_ptr<Database>> open_for_writing(const std::string& path);
// A second connection, which only reads.
StatusOr<std::unique_ptr<Database>> open_for_reading(const std::string& path);

// What to tell the operator about a file that cannot be read, from the database's error.
Status damaged(const Database& database);

}  // namespace weft
