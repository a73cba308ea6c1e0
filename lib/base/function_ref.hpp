// A borrowed callable, for parameters: two words, where std::function would copy what it is given to the heap.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace patu {

template <class Signature>
class FunctionRef;

// What it was made of must outlive it: an argument does, until the call returns. Empty by default.
template <class Out, class... In>
class FunctionRef<Out(In...)> final {
 public:
  FunctionRef() noexcept = default;
  template <class Callable>
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef> &&
           std::is_object_v<std::remove_reference_t<Callable>> && std::is_invocable_r_v<Out, Callable&, In...>)
      FunctionRef(Callable&& callable)
  noexcept
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, In... in) -> Out {
          return (*static_cast<std::remove_reference_t<Callable>*>(object))(std::forward<In>(in)...);
        }) {}

  Out operator()(In... in) const { return call_(object_, std::forward<In>(in)...); }
  explicit operator bool() const noexcept { return call_ != nullptr; }

 private:
  void* object_ = nullptr;
  Out (*call_)(void* object, In... in) = nullptr;
};

}  // namespace patu
