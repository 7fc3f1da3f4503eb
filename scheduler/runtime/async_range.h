// What std::ranges says of ranges and iterators, said of sequences that have to be waited for.
#pragma once

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

namespace weft {
namespace internal {

// The value inside what may be empty or failed: of optional<T>, T; of StatusOr<optional<T>>, T.
template <typename T>
struct ItemOf {};
template <typename T>
struct ItemOf<std::optional<T>> {
  using type = T;
};
template <typename T>
  requires requires { typename ItemOf<typename T::value_type>::type; }
struct ItemOf<T> : ItemOf<typename T::value_type> {};

// The object that what is opened holds: of unique_ptr<T> and StatusOr<unique_ptr<T>>, T; else
// itself.
template <typename T>
struct OpenedOf {
  using type = T;
};
template <typename T>
  requires requires { typename T::element_type; }
struct OpenedOf<T> {
  using type = typename T::element_type;
};
template <typename T>
  requires requires { typename T::value_type::element_type; }
struct OpenedOf<T> : OpenedOf<typename T::value_type> {};

}  // namespace internal

// What `co_await` gives.
template <typename Awaitable>
using AwaitedType = std::remove_cvref_t<decltype(std::declval<Awaitable&>().await_resume())>;

// One pass over a sequence: `co_await iterator.next()` gives the next item, or nothing at the end.
// Not to be copied: two copies could not both see every item.
template <typename T>
concept AsyncIterator = !std::copy_constructible<T> && requires(T& iterator) {
  typename internal::ItemOf<AwaitedType<decltype(iterator.next())>>::type;
};

// What an iterator gives.
template <AsyncIterator T>
using AsyncItem = typename internal::ItemOf<AwaitedType<decltype(std::declval<T&>().next())>>::type;

// What can be gone through any number of times: each `co_await iterable.open(from)` begins a pass
// of its own.
template <typename T, typename... From>
concept AsyncIterable = requires(T& iterable, From... from) {
  requires AsyncIterator<
      typename internal::OpenedOf<AwaitedType<decltype(iterable.open(from...))>>::type>;
};

}  // namespace weft
