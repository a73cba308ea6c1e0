// The one heap sort.
#include "base/sort.hpp"

namespace patu {

void heap_sort(std::size_t count, FunctionRef<bool(std::size_t, std::size_t)> less,
               FunctionRef<void(std::size_t, std::size_t)> swap) {
  // While a heap is made `from` falls to 0, and while it is taken apart `end` falls.
  for (std::size_t from = count / 2, end = count; end > 1;) {
    if (from > 0)
      --from;
    else
      swap(0, --end);
    // Lets the element at `from` sink below what is greater.
    for (std::size_t parent = from, child; (child = 2 * parent + 1) < end; parent = child) {
      if (child + 1 < end && less(child, child + 1)) ++child;
      if (!less(parent, child)) break;
      swap(parent, child);
    }
  }
}

}  // namespace patu
