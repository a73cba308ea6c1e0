// Sorting without a copy of the algorithm for each type: nothing that patu sorts is large or sorted often.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <utility>

#include "base/function_ref.hpp"

namespace patu {

// Sorts what `less` and `swap` call by number, from 0 to `count`; in place, not stable, O(count log count) at worst.
void heap_sort(std::size_t count, FunctionRef<bool(std::size_t, std::size_t)> less,
               FunctionRef<void(std::size_t, std::size_t)> swap);

template <class Iterator, class Less = std::less<>>
void heap_sort(Iterator first, Iterator last, const Less& less = {}) {
  using Difference = typename std::iterator_traits<Iterator>::difference_type;
  const auto at = [first](std::size_t index) -> auto& { return first[static_cast<Difference>(index)]; };
  heap_sort(
      static_cast<std::size_t>(last - first),
      [&](std::size_t left, std::size_t right) -> bool { return less(at(left), at(right)); },
      [&](std::size_t left, std::size_t right) { std::swap(at(left), at(right)); });
}

}  // namespace patu
