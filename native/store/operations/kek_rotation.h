// Rotation of the KEK in a token.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class KekRotation {
 public:
  explicit KekRotation(Engine& engine) : store_(engine.state()) {}

  // Makes a new KEK, wraps the DEK with it and removes the old one; what an interrupted one left is removed first.
  [[nodiscard]] Status rotate();

 private:
  Engine::State& store_;
};

}  // namespace strongroom::store
