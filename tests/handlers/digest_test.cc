// digest against the real sha256sum, on a tree made to trip it.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "daemon/handlers/file_tree.h"
#include "daemon/handlers/handlers.h"
#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::HasSubstr;
using testing::Read;
using testing::read;
using testing::with_bed;
using testing::WorkerBed;
namespace fs = std::filesystem;

class TempTree {
 public:
  TempTree() {
    std::string pattern = (fs::temp_directory_path() / "weft-digest-XXXXXX").string();
    root = mkdtemp(pattern.data());
  }
  ~TempTree() { fs::remove_all(root); }
  void write(const std::string& name, const std::string& content) const {
    const fs::path path = root / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  fs::path root;
};

std::vector<std::string> lines_of(const std::string& command) {
  std::string all;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    all.append(buffer.data(), got);
  }
  pclose(pipe);
  std::vector<std::string> lines;
  for (size_t at = 0; at < all.size();) {
    const size_t end = all.find('\n', at);
    lines.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<std::string> sha256sum(const fs::path& folder) {
  return lines_of(
      "cd '" + folder.string() +
      "' && find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 -r sha256sum --");
}

Task<Read> digest(std::string root, std::string path) {
  Read got;
  Registry registry;
  std::vector<std::string> roots;
  if (!root.empty()) roots.push_back(root);
  register_stock_handlers(registry, {.allow_roots = roots});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("digest", nlohmann::json{{"path", path}}.dump());
    auto reader = co_await bed.attach(id, UINT64_MAX);
    got = co_await read(*reader);
  };
  BedOptions options;
  options.executor_threads = 2;
  co_await with_bed(std::move(options), std::move(registry), body);
  co_return got;
}

CORO_TEST(Digest, PrintsWhatSha256sumPrints) {
  TempTree tree;
  tree.write("plain", "hello\n");
  tree.write("empty", "");
  tree.write("a/b", "1");
  tree.write("a-b", "2");
  tree.write("a/c/deep/er", "3");
  tree.write("a b\tc", "4");
  tree.write("back\\slash", "5");
  tree.write("new\nline", "6");
  tree.write("carriage\rreturn", "7");
  tree.write("\xC3\xBCml\xFF not utf8", "8");
  tree.write("Z", "9");
  tree.write(".hidden/.file", "10");
  tree.write("-dash", "11");
  tree.write("large", std::string(40 << 20, 'x'));
  for (int i = 0; i < 100; ++i) tree.write("many/" + std::to_string(i), std::string(i * 100, 'm'));
  fs::create_directories(tree.root / "no files here");
  fs::create_symlink("plain", tree.root / "link");
  fs::create_directory_symlink("/etc", tree.root / "link to a folder");
  mkfifo((tree.root / "pipe").c_str(), 0600);

  const std::vector<std::string> expected = sha256sum(tree.root);
  WEFT_ASSERT(expected.size() == 114);
  const Read got = co_await digest(tree.root.string(), tree.root.string());
  EXPECT_EQ(got.chunks, expected);
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  handlers::Sha256 manifest;
  for (size_t i = 0; i < expected.size(); ++i) manifest.add((i == 0 ? "" : "\n") + expected[i]);
  EXPECT_EQ(got.finished->outcome().result(), manifest.finish());

  const Read below = co_await digest(tree.root.string(), (tree.root / "a").string());
  EXPECT_EQ(below.chunks, sha256sum(tree.root / "a"));
  const Read slash = co_await digest(tree.root.string() + "/", (tree.root / "a/").string());
  EXPECT_EQ(slash.chunks, below.chunks);
}

// Lists a folder without a job around it; returns how many steps that took.
size_t list(handlers::FileLister& lister) {
  size_t steps = 1;
  while (!lister.step()) ++steps;
  return steps;
}

std::shared_ptr<handlers::FileDescriptor> open_root(const TempTree& tree) {
  return *handlers::open_folder({tree.root.string()}, tree.root.string());
}

TEST(FileLister, CountsFilesAndFoldersAlsoInOneFolder) {
  TempTree tree;
  for (int i = 0; i < 7; ++i) tree.write("f" + std::to_string(i), "");
  for (int i = 0; i < 3; ++i) fs::create_directories(tree.root / ("d" + std::to_string(i)));
  handlers::FileLister enough(open_root(tree), 10);
  list(enough);
  EXPECT_FALSE(enough.too_many());
  EXPECT_EQ(enough.take().size(), 7u);
  handlers::FileLister few(open_root(tree), 9);
  list(few);
  EXPECT_TRUE(few.too_many());
}

TEST(FileLister, LargeFolderIsReadAndSortedInSteps) {
  TempTree tree;
  constexpr size_t kFiles = 10'000;
  for (size_t i = 0; i < kFiles; ++i) tree.write("f" + std::to_string(i * 7919 % kFiles), "");
  handlers::FileLister lister(open_root(tree), kFiles);
  EXPECT_GE(list(lister), 3u);
  const std::vector<handlers::Unreadable> names = lister.take();
  EXPECT_FALSE(lister.too_many());
  ASSERT_EQ(names.size(), kFiles);
  for (size_t i = 1; i < names.size(); ++i) ASSERT_LT(names[i - 1].path, names[i].path);
}

CORO_TEST(Digest, RefusesAFolderOfTooManyNames) {
  TempTree tree;
  for (int i = 0; i < 4; ++i) tree.write("f" + std::to_string(i), "");
  Registry registry;
  register_stock_handlers(registry, {.allow_roots = {tree.root.string()}, .digest_names = 3});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id =
        co_await bed.submit("digest", nlohmann::json{{"path", tree.root.string()}}.dump());
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(end.outcome().error_code(), "bad_path");
    EXPECT_THAT(end.outcome().error_message(), HasSubstr("more than 3 files"));
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Digest, EmptyFolderGivesTheDigestOfNothing) {
  TempTree tree;
  const Read got = co_await digest(tree.root.string(), tree.root.string());
  EXPECT_TRUE(got.chunks.empty());
  EXPECT_EQ(got.finished->outcome().result(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

CORO_TEST(Digest, RefusesWhatIsNotBelowAnAllowedFolder) {
  TempTree tree;
  TempTree other;
  tree.write("in/file", "1");
  fs::create_directory_symlink(other.root, tree.root / "out");
  fs::create_directory_symlink("in", tree.root / "inside");
  const std::string root = tree.root.string();
  const std::pair<std::string, std::string> kBad[] = {
      {other.root.string(), "outside of the allowed folders"},
      {root + "-not", "outside of the allowed folders"},
      {"/", "outside of the allowed folders"},
      {root + "/out", "leads through a symlink"},
      {root + "/out/x", "leads through a symlink"},
      {root + "/inside", "leads through a symlink"},
      {root + "/in/../in", "has '..' in it"},
      {root + "/../" + other.root.filename().string(), "has '..' in it"},
      {root + "/none", "does not exist"},
      {root + "/in/file", "is not a folder"},
      {"in", "is not absolute"},
      {"", "is not absolute"},
  };
  for (const auto& [path, message] : kBad) {
    const Read got = co_await digest(root, path);
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD) << path;
    EXPECT_THAT(got.finished->outcome().error_message(), HasSubstr(message)) << path;
    EXPECT_TRUE(got.chunks.empty());
  }
  const Read nowhere = co_await digest("", root);
  EXPECT_THAT(nowhere.finished->outcome().error_message(), HasSubstr("--allow-root"));
}

CORO_TEST(Digest, AllowedFolderMayItselfBeReachedThroughASymlink) {
  TempTree tree;
  TempTree other;
  tree.write("file", "1");
  fs::create_directory_symlink(tree.root, other.root / "link");
  const Read spelled =
      co_await digest((other.root / "link").string(), (other.root / "link").string());
  EXPECT_EQ(spelled.chunks.size(), 1u);
  const Read real = co_await digest((other.root / "link").string(), tree.root.string());
  EXPECT_EQ(real.chunks, spelled.chunks);
}

TEST(FileHash, WhatCannotBeReadBecomesAnErrorLine) {
  TempTree tree;
  tree.write("there", "1");
  fs::create_symlink("there", tree.root / "link");
  mkfifo((tree.root / "pipe").c_str(), 0600);
  auto folder = handlers::open_folder({tree.root.string()}, tree.root.string());
  ASSERT_TRUE(folder.ok());
  const auto line = [&](const std::string& path) {
    handlers::FileHash hash(*folder, path);
    while (!hash.step()) {
    }
    return hash.line();
  };
  // What vanished or was replaced after it was listed; nothing of it is followed or waited for.
  EXPECT_EQ(line("gone\nnow"), "error: gone\\nnow: No such file or directory");
  EXPECT_THAT(line("link"), HasSubstr("error: link: Too many levels of symbolic links"));
  EXPECT_THAT(line("pipe"), HasSubstr("error: pipe: "));
  EXPECT_THAT(line("../x"), HasSubstr("error: ../x: "));
  EXPECT_THAT(line("there"), HasSubstr("  there"));
}

CORO_TEST(Digest, UnreadableFileBecomesALineAndTheJobGoesOn) {
  if (geteuid() == 0) {
    // Root reads everything: give the rights up for this test.
    if (seteuid(65534) != 0) GTEST_LOG_(FATAL) << "root cannot become nobody";
  }
  {
    TempTree tree;
    tree.write("a", "1");
    tree.write("b", "2");
    tree.write("folder/c", "3");
    tree.write("z", "4");
    fs::permissions(tree.root / "b", fs::perms::none);
    fs::permissions(tree.root / "folder", fs::perms::none);
    const Read got = co_await digest(tree.root.string(), tree.root.string());
    WEFT_ASSERT(got.chunks.size() == 4);
    EXPECT_THAT(got.chunks[0], HasSubstr("  a"));
    EXPECT_EQ(got.chunks[1], "error: b: Permission denied");
    EXPECT_EQ(got.chunks[2], "error: folder: Permission denied");
    EXPECT_THAT(got.chunks[3], HasSubstr("  z"));
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
    fs::permissions(tree.root / "folder", fs::perms::owner_all);
  }
  if (getuid() == 0 && seteuid(0) != 0) GTEST_LOG_(FATAL) << "cannot become root again";
}

CORO_TEST(Digest, CancelledDigestLeavesNothingBehind) {
  TempTree tree;
  for (int i = 0; i < 50; ++i) tree.write(std::to_string(i), std::string(1 << 20, 'x'));
  Registry registry;
  register_stock_handlers(registry, {.allow_roots = {tree.root.string()}});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id =
        co_await bed.submit("digest", nlohmann::json{{"path", tree.root.string()}}.dump());
    auto reader = co_await bed.attach(id, 3);
    const Read got = co_await read(*reader, 3);
    EXPECT_EQ(got.chunks.size(), 3u);
    co_await bed.cancel(id, "enough");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_TRUE(end.state() == v1::JOB_STATE_CANCELLED || end.state() == v1::JOB_STATE_SUCCEEDED);
  };
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
