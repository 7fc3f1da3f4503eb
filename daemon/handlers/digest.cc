// digest: SHA-256 of every file of a folder; several files are read and hashed at once, their lines
// come in order.
#include <array>
#include <utility>

#include <weft/runtime/event.h>

#include "daemon/handlers/file_tree.h"
#include "daemon/handlers/handlers.h"
#include "daemon/handlers/payload.h"

namespace weft::handlers {
namespace {

constexpr size_t kFilesAtOnce = 8;  // open and hashed ahead of the line to yield next

// What the tasks that hash share with the stream that yields.
class Pipeline {
 public:
  Pipeline(std::shared_ptr<FileDescriptor> root, std::vector<Unreadable> names)
      : folder(std::move(root)), entries(std::move(names)) {}
  std::shared_ptr<FileDescriptor> folder;
  std::vector<Unreadable> entries;
  std::array<std::optional<std::string>, kFilesAtOnce> lines;  // of entry i: [i % kFilesAtOnce]
  size_t next = 0;     // entry that the next free task takes
  size_t yielded = 0;  // entries whose lines are out
  Event line_ready;
  Event room;
};
using PipelinePtr = std::shared_ptr<Pipeline>;

Task<void> hash_files(Job job, PipelinePtr pipeline) {
  while (pipeline->next < pipeline->entries.size()) {
    if (pipeline->next >= pipeline->yielded + kFilesAtOnce) {
      co_await pipeline->room.wait();
      continue;
    }
    const size_t index = pipeline->next++;
    Unreadable& entry = pipeline->entries[index];
    std::optional<std::string>& line = pipeline->lines[index % kFilesAtOnce];
    if (entry.error != 0) {
      line = error_line(entry.path, entry.error);
    } else {
      auto hash = std::make_shared<FileHash>(pipeline->folder, std::move(entry.path));
      auto step = [hash] { return hash->step(); };
      while (!co_await job.offload(step)) {
      }
      line = hash->line();
    }
    pipeline->line_ready.notify_all();
  }
}

Task<PipelinePtr> list_files(Job job, Roots roots, std::string path, size_t max_names) {
  auto open = [roots, path] { return open_folder(*roots, path); };
  StatusOr<std::shared_ptr<FileDescriptor>> folder = co_await job.offload(open);
  if (!folder.ok()) throw Permanent(std::string(from_absl(folder.status().message())), "bad_path");
  auto lister = std::make_shared<FileLister>(*folder, max_names);
  auto step = [lister] { return lister->step(); };
  while (!co_await job.offload(step)) {
  }
  if (lister->too_many()) {
    throw Permanent("path '" + path + "' holds more than " + std::to_string(max_names) +
                        " files and folders: give a folder below it",
                    "bad_path");
  }
  co_return std::make_shared<Pipeline>(*std::move(folder), lister->take());
}

}  // namespace

// Payload: {"path": FOLDER}, absolute and below an allowed folder, with no symlink on the way.
// Yields one line per regular file below it, as `sha256sum` prints it for the path relative to
// FOLDER, in the byte order of these paths; symlinks are not followed. What cannot be read becomes
// the line "error: PATH: REASON". Returns the SHA-256 of all lines joined with newlines, in
// hexadecimal.
Stream<std::string> digest(Job job, Roots roots, size_t max_names) {
  std::string path = read_payload(
      job, {"path"}, [](const Fields& fields) { return fields.required_text("path"); });
  PipelinePtr pipeline = co_await list_files(job, std::move(roots), std::move(path), max_names);
  const size_t tasks = std::min(kFilesAtOnce, pipeline->entries.size());
  for (size_t i = 0; i < tasks; ++i) job.start(hash_files, job, pipeline);
  Sha256 manifest;
  const size_t total = pipeline->entries.size();
  for (size_t i = 0; i < total; ++i) {
    // A bar needs no more than a step for each percent.
    if (i * 100 / total != (i + 1) * 100 / total) {
      job.progress(static_cast<double>(i + 1) / static_cast<double>(total),
                   std::to_string(i + 1) + " of " + std::to_string(total) + " files");
    }
    std::optional<std::string>& slot = pipeline->lines[i % kFilesAtOnce];
    while (!slot) co_await pipeline->line_ready.wait();
    std::string line = *std::exchange(slot, std::nullopt);
    if (i > 0) manifest.add("\n");
    manifest.add(line);
    pipeline->yielded = i + 1;
    pipeline->room.notify_all();
    co_yield std::move(line);
  }
  job.set_result(manifest.finish());
}

}  // namespace weft::handlers
