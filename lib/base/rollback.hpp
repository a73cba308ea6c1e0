// Undoes a step unless the whole is committed: one object a step, undone in reverse order.
#pragma once

#include <type_traits>
#include <utility>

namespace patu {

template <class Undo>
class [[nodiscard]] Rollback final {
 public:
  explicit Rollback(Undo undo) noexcept(std::is_nothrow_move_constructible_v<Undo>) : undo_(std::move(undo)) {}
  Rollback(Rollback&&) = delete;
  Rollback& operator=(Rollback&&) = delete;
  // An undo step may run out of memory like any other code; there is nobody to tell, and the next call repairs.
  ~Rollback() {
    if (committed_) return;
    try {
      undo_();
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
  }

  void commit() noexcept { committed_ = true; }

 private:
  Undo undo_;
  bool committed_ = false;
};

}  // namespace patu
