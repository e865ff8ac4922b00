#!/usr/bin/env node
// Makes every generated file of the sources
// With --check it writes nothing and fails when one of them is not up to date.
import './generate-errors.mjs';
import './generate-border.mjs';
