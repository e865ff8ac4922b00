// C++ that a reader of declarations can misread
// { struct NotOne { int a; }; void no_function(bool b) {
/* } class NorThis { public: void f(bool a); */
#pragma once

#define OPENS(x) \
  struct x {     \
    bool no_field;
#define JOIN(a, b) a##b
#define ATTRIBUTE_WITH(...)
#define EMPTY_MACRO
#define BARE_ATTRIBUTE

template <typename T>
struct Holder {};
template <typename T, typename U = Holder<Holder<int>>>
class Pair {
 public:
  Pair() = default;
  explicit Pair(T first, bool swapped = false) : first_{first}, second_(), swapped_{swapped} {}
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  Pair(Pair&&) noexcept = default;
  ~Pair() { first_ = T{}; }

  bool operator==(const Pair&) const = default;
  bool operator<(const Pair& other) const { return first_ < other.first_; }
  bool operator()(bool on, int) const { return on; }
  explicit operator bool() const { return swapped_; }
  Pair& operator++() { return *this; }
  T* operator->() { return &first_; }
  T& operator[](int) { return first_; }
  template <typename V, typename = Holder<V>>
  auto convert(V&& value, const bool& by_reference, bool* by_pointer) const -> Holder<Holder<V>>
    requires(sizeof(V) > 1 && sizeof(V) < 64)
  {
    return {};
  }

 protected:
  void protected_one(const bool) {}

 private:
  T first_;
  U second_;
  bool swapped_ = 3 < 4;
};

namespace outer::inner {
inline namespace v1 {

class [[nodiscard]] Fields final : private Pair<int>, public Holder<Pair<int, char>> {
 public:
  enum class Kind : unsigned char { kOne = 1 << 2, kTwo };
  enum { kPlain };
  struct Nested {
    int a = 0, b{1}, c[2] = {1, 2};
    struct Deeper {
      bool deep;
      bool is_deep() const { return deep; }
    } deeper, *next = nullptr;
  };
  union {
    int as_int;
    float as_float;
  };
  struct {
    int x;
  } anonymous_, *pointer_to_it_ = nullptr;
  struct Forward;
  class AlsoForward* forward_ = nullptr;
  friend class Friend;
  friend bool operator!=(const Fields&, const Fields&) { return true; }
  friend void helper(bool flag);
  using Callback = void (*)(bool);
  typedef int Number;
  static constexpr int kCount = 3;
  static int shared_;
  static_assert(sizeof(int) == 4, "{ not } a brace;");

  Fields() : Fields(Holder<int>{}, {1, 2}) {}
  Fields(Holder<int> h, Nested n)
      : Pair<int>(1, true),
        Holder<Pair<int, char>>{},
        nested_{n},
        callback_([](bool on) {
          struct InLambda {
            int i;
          };
          (void)on;
        }),
        holder_{h} {}
  virtual ~Fields() = default;

  virtual int pure(bool) const noexcept(noexcept(1 < 2)) = 0;
  [[nodiscard]] static Fields* make(int (*predicate)(bool), bool (*other)(int) = nullptr, bool last = (1 > 2));
  ATTRIBUTE_WITH("})") auto trailing(Holder<void(bool)>, bool a = true, const bool b = false) & -> bool;
  int try_block() try { return 1; } catch (...) {
    return 2;
  }
  int default_lambda(int (*f)(bool) = [](bool b) { return b ? 1 : 0; }) { return f(true); }

 private:
  Nested nested_;
  Callback callback_;
  void (*raw_)(bool) = nullptr;
  int (Fields::*member_)(bool) = nullptr;
  int (&array_)[3] = *static_cast<int (*)[3]>(nullptr);
  Holder<void(bool, int)> holder_of_function_;
  Holder<int> holder_;
  alignas(16) int aligned_ = 1;
  unsigned bits_ : 3, more_ : 5;
  [[maybe_unused]] const char* text_ = R"x({ class Raw { } )" }; )x";
  char brace_ = '{', quote_ = '\'', other_ = '"';
  int separated_ = 1'000'000;
  decltype(1 + 2) typed_ = 3;
  mutable volatile int last_ = 1 << 3;
};

#if defined(EMPTY_MACRO) && \
    1
inline int branches(int x) {
#else
inline int branches(bool x) {
#endif
  if (x < 3 && x > 1) {
    return '}';
  }
  return "}{"[0];
}

inline int many(
    int a,  // one {
    bool b, /* } */
    int c) {
  struct Local {
    int one;
    bool two() const { return one > 0; }
  };
  const auto lambda = [&](bool on) -> int {
    if (on) return a;
    return c;
  };
  return Local{a}.two() ? lambda(b) : u8R"({)"[0];
}

}  // namespace v1
extern "C" {
int exported(bool in_c);
}
extern "C" int exported_too(bool);
}  // namespace outer::inner

template <>
struct Holder<bool> {
  bool value;
};

namespace {
class BARE_ATTRIBUTE Unnamed {
  int hidden_ ATTRIBUTE_WITH(guarded, by) = 1, also_ ATTRIBUTE_WITH(it);
  int ask() ATTRIBUTE_WITH(requires) { return hidden_; }
};
}  // namespace

template <typename T, typename U>
requires(sizeof(T) > 0)
int constrained(T first,
                U second,
                bool third) {
  return 1;
}

template <typename T>
struct OutOfClass {
  template <typename U>
  int defined_below(U u, bool b);
};
template <typename T> template <typename U>
int OutOfClass<T>::defined_below(U u, bool b) {
  return b ? 1 : 2;
}
