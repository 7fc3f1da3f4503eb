// Ring and IntrusiveList, against std containers.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <weft/base/intrusive_list.h>
#include <weft/base/lazy_deque.h>
#include <weft/base/random.h>
#include <weft/base/ring.h>

namespace weft {
namespace {

TEST(Ring, MatchesADequeUnderRandomOperations) {
  Random random(5);
  Ring<std::unique_ptr<int>> ring;
  std::deque<int> reference;
  for (int i = 0; i < 20'000; ++i) {
    switch (random.below(5)) {
      case 0:
      case 1:
        ring.push_back(std::make_unique<int>(i));
        reference.push_back(i);
        break;
      case 2:
      case 3:
        if (reference.empty()) break;
        ASSERT_EQ(*ring.front(), reference.front());
        ASSERT_EQ(*ring.pop_front(), reference.front());
        reference.pop_front();
        break;
      default:
        if (reference.empty()) break;
        const size_t index = random.below(reference.size());
        ring.erase(index);
        reference.erase(reference.begin() + static_cast<std::ptrdiff_t>(index));
    }
    ASSERT_EQ(ring.size(), reference.size());
    if (reference.empty()) continue;
    const size_t probe = random.below(reference.size());
    ASSERT_EQ(*ring[probe], reference[probe]);
  }
}

struct Item : ListNode<> {
  explicit Item(int number) : value(number) {}
  int value;
};

TEST(IntrusiveList, KeepsOrderAndForgetsTheDestroyed) {
  IntrusiveList<Item> list;
  Item a(1), c(3);
  list.push_back(a);
  {
    Item b(2);
    list.push_back(b);
    list.push_back(c);
    int sum = 0;
    list.for_each([&](Item& item) { sum = sum * 10 + item.value; });
    EXPECT_EQ(sum, 123);
  }
  EXPECT_EQ(list.pop_front()->value, 1);
  EXPECT_FALSE(a.linked());
  EXPECT_EQ(list.front().value, 3);
  EXPECT_EQ(list.pop_front(), &c);
  EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(IntrusiveList, PushingALinkedItemMovesIt) {
  IntrusiveList<Item> first, second;
  Item item(1);
  first.push_back(item);
  second.push_back(item);
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(&second.front(), &item);
}

TEST(IntrusiveList, VisitorMayUnlinkTheVisited) {
  IntrusiveList<Item> list;
  Item a(1), b(2), c(3);
  for (Item* item : {&a, &b, &c}) list.push_back(*item);
  list.for_each([](Item& item) {
    if (item.value != 2) item.unlink();
  });
  EXPECT_EQ(list.pop_front(), &b);
  EXPECT_TRUE(list.empty());
}

TEST(LazyDeque, IsEmptyUntilSomethingIsPutIn) {
  LazyDeque<std::string> items;
  EXPECT_TRUE(items.empty());
  EXPECT_EQ(items.size(), 0u);
  EXPECT_TRUE(items.begin() == items.end());
  EXPECT_EQ(sizeof(items), sizeof(void*));
  items.push_back("a");
  items.emplace_back(3, 'b');
  items.push_back("c");
  EXPECT_EQ(items.front(), "a");
  EXPECT_EQ(items.back(), "c");
  EXPECT_EQ(std::vector<std::string>(items.begin(), items.end()),
            (std::vector<std::string>{"a", "bbb", "c"}));
  items.erase_before(items.begin() + 1);
  items.pop_front();
  EXPECT_EQ(items.size(), 1u);
  items.clear();
  EXPECT_TRUE(items.empty());
}

}  // namespace
}  // namespace weft
