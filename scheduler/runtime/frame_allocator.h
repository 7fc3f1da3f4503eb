// Frame allocator: coroutine frames from per-thread free lists, with a count of those alive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include <weft/base/limits.h>

namespace weft {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEFT_CACHED_FRAMES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_CACHED_FRAMES 0
#endif
#endif
#ifndef WEFT_CACHED_FRAMES
#define WEFT_CACHED_FRAMES 1
#endif

namespace internal {

// Free lists of 16-byte size classes: wider classes waste a third of a parked job's memory.
struct FrameCache {
  struct Free {
    Free* next;
  };
  static constexpr size_t kClasses = 65;  // up to 1 KiB; larger frames are rare
  static constexpr size_t class_of(size_t bytes) { return (bytes + 15) >> 4; }

  Free* free[kClasses];
  uint32_t count[kClasses];
  int64_t live;
};
inline constinit thread_local FrameCache frame_cache{};

void* allocate_new_frame(size_t bytes);

}  // namespace internal

// Thread: any; each thread has its own lists. Under sanitizers every frame is a plain malloc, so
// that use after free is found.
// Limits: at most limits::kFrameCachePerClass free frames are kept per size class and thread.
inline void* allocate_frame(size_t bytes) {
  internal::FrameCache& cache = internal::frame_cache;
  const size_t size_class = internal::FrameCache::class_of(bytes);
  ++cache.live;
  if (!WEFT_CACHED_FRAMES || size_class >= internal::FrameCache::kClasses ||
      cache.free[size_class] == nullptr) {
    return internal::allocate_new_frame(bytes);
  }
  --cache.count[size_class];
  return std::exchange(cache.free[size_class], cache.free[size_class]->next);
}

inline void free_frame(void* frame, size_t bytes) noexcept {
  internal::FrameCache& cache = internal::frame_cache;
  const size_t size_class = internal::FrameCache::class_of(bytes);
  --cache.live;
  if (!WEFT_CACHED_FRAMES || size_class >= internal::FrameCache::kClasses ||
      cache.count[size_class] >= limits::kFrameCachePerClass) {
    std::free(frame);
    return;
  }
  auto* free = static_cast<internal::FrameCache::Free*>(frame);
  free->next = cache.free[size_class];
  cache.free[size_class] = free;
  ++cache.count[size_class];
}

// Frames allocated minus frames freed on this thread. A loop thread's count is 0 when every task
// is gone; tests check it.
inline int64_t live_frames() { return internal::frame_cache.live; }

// Gives this thread's free lists back to the system.
void release_frame_cache() noexcept;

// Base of every promise of ours.
struct FrameAllocated {
  static void* operator new(size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, size_t bytes) { free_frame(frame, bytes); }
};

}  // namespace weft
