// Free lists of 16-byte size classes: wider classes waste a third of a parked job's memory.
#include <cstdlib>
#include <new>

#include <weft/base/limits.h>
#include <weft/runtime/frame_allocator.h>

namespace weft {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCached = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kCached = false;
#else
constexpr bool kCached = true;
#endif
#else
constexpr bool kCached = true;
#endif

constexpr size_t kClassShift = 4;
constexpr size_t kClasses = 65;  // up to 1 KiB; larger frames are rare

struct FreeFrame {
  FreeFrame* next;
};

struct Cache {
  FreeFrame* free[kClasses];
  uint32_t count[kClasses];
  int64_t live;
};
constinit thread_local Cache cache{};

size_t class_of(size_t bytes) { return (bytes + 15) >> kClassShift; }

}  // namespace

void* allocate_frame(size_t bytes) {
  ++cache.live;
  const size_t size_class = class_of(bytes);
  if (kCached && size_class < kClasses) {
    if (FreeFrame* frame = cache.free[size_class]) {
      cache.free[size_class] = frame->next;
      --cache.count[size_class];
      return frame;
    }
    bytes = size_class << kClassShift;
  }
  void* frame = std::malloc(bytes);
  if (frame == nullptr) throw std::bad_alloc();
  return frame;
}

void free_frame(void* frame, size_t bytes) noexcept {
  --cache.live;
  const size_t size_class = class_of(bytes);
  if (kCached && size_class < kClasses && cache.count[size_class] < limits::kFrameCachePerClass) {
    auto* free = static_cast<FreeFrame*>(frame);
    free->next = cache.free[size_class];
    cache.free[size_class] = free;
    ++cache.count[size_class];
    return;
  }
  std::free(frame);
}

int64_t live_frames() { return cache.live; }

void release_frame_cache() noexcept {
  for (size_t i = 0; i < kClasses; ++i) {
    while (FreeFrame* frame = cache.free[i]) {
      cache.free[i] = frame->next;
      std::free(frame);
    }
    cache.count[i] = 0;
  }
}

}  // namespace weft
