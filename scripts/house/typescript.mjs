// Classes, functions, positional booleans and comparisons of a TypeScript file
import ts from 'typescript';

const { SyntaxKind: K } = ts;

const nameOf = (node) => node.name?.getText() ?? '';
const has = (node, kind) => node.modifiers?.some((modifier) => modifier.kind === kind) ?? false;
const isHidden = (node) =>
  has(node, K.PrivateKeyword) ||
  has(node, K.ProtectedKeyword) ||
  (node.name !== undefined && ts.isPrivateIdentifier(node.name));
const isFunction = (node) =>
  node !== undefined && (ts.isArrowFunction(node) || ts.isFunctionExpression(node));
const isAccessor = (node) => ts.isGetAccessor(node) || ts.isSetAccessor(node);

/** What a function is called: its own name, its variable's, or that of the call that it is an argument of. */
function functionName(node) {
  if (ts.isConstructorDeclaration(node)) return 'constructor';
  if (node.name !== undefined) return nameOf(node);
  const { parent } = node;
  if (ts.isCallExpression(parent)) {
    const callee = parent.expression;
    const name = ts.isPropertyAccessExpression(callee) ? callee.name.text : callee.getText().slice(0, 40);
    const title = parent.arguments.find((argument) => ts.isStringLiteralLike(argument));
    return title ? `${name}('${title.text}')` : `${name}()`;
  }
  return parent.name?.getText() ?? '(unnamed)';
}

/** Whether a function only groups tests. */
function isSuite(node) {
  return (
    ts.isCallExpression(node.parent) && /^(describe|context|suite)/.test(node.parent.expression.getText())
  );
}

/** Fields and public methods. `methods` is 0 for plain data. */
function membersOf(node) {
  const methods = new Set();
  const publicMethods = new Set();
  let fields = 0;
  for (const member of node.members) {
    if (ts.isConstructorDeclaration(member)) {
      fields += member.parameters.filter((parameter) =>
        ts.isParameterPropertyDeclaration(parameter, member),
      ).length;
      continue;
    }
    const isMethod =
      ts.isMethodDeclaration(member) ||
      ts.isMethodSignature(member) ||
      isAccessor(member) ||
      (ts.isPropertyDeclaration(member) && isFunction(member.initializer));
    if (isMethod) {
      // Overloads, and the two halves of an accessor, are one method.
      methods.add(nameOf(member));
      if (!isHidden(member)) publicMethods.add(nameOf(member));
    } else if (ts.isPropertyDeclaration(member) || ts.isPropertySignature(member)) {
      if (!has(member, K.StaticKeyword)) fields += 1;
    }
  }
  return { fields, methods: methods.size, publicMethods: publicMethods.size };
}

function isBoolean(parameter) {
  const { type, initializer } = parameter;
  if (type === undefined) return initializer?.kind === K.TrueKeyword || initializer?.kind === K.FalseKeyword;
  const parts = ts.isUnionTypeNode(type) ? [...type.types] : [type];
  return (
    parts.some(({ kind }) => kind === K.BooleanKeyword) &&
    parts.every(({ kind }) => kind === K.BooleanKeyword || kind === K.UndefinedKeyword)
  );
}
const boolsOf = (parameters) => parameters.filter(isBoolean).map((parameter) => parameter.name.getText());

/** The declarations of exported names, by `export` on them or in a list. */
function exportedNames(source) {
  const names = new Set();
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement) && !statement.moduleSpecifier && statement.exportClause) {
      for (const element of statement.exportClause.elements ?? [])
        names.add((element.propertyName ?? element.name).text);
    } else if (ts.isExportAssignment(statement)) {
      names.add(statement.expression.getText());
    }
  }
  return names;
}

/** The functions that an exported declaration offers: `{ name, node, parameters }`. */
function offeredBy(statement, isListed) {
  const offered = [];
  const add = (name, node) => offered.push({ name, node, parameters: node.parameters });
  const isExported = (node) => has(node, K.ExportKeyword) || isListed(nameOf(node));
  if (ts.isFunctionDeclaration(statement) && isExported(statement)) add(nameOf(statement), statement);
  if (ts.isVariableStatement(statement)) {
    for (const declaration of statement.declarationList.declarations) {
      if (!has(statement, K.ExportKeyword) && !isListed(nameOf(declaration))) continue;
      if (isFunction(declaration.initializer)) add(nameOf(declaration), declaration.initializer);
    }
  }
  if ((ts.isClassDeclaration(statement) || ts.isInterfaceDeclaration(statement)) && isExported(statement)) {
    for (const member of statement.members) {
      if (isHidden(member)) continue;
      const callable = ts.isPropertyDeclaration(member) ? member.initializer : member;
      const isCallable =
        isFunction(callable) ||
        (callable !== undefined && ts.isFunctionLike(callable) && !isAccessor(callable));
      if (isCallable)
        add(
          `${nameOf(statement)}.${ts.isConstructorDeclaration(member) ? 'constructor' : nameOf(member)}`,
          callable,
        );
    }
  }
  return offered;
}

/** Comparisons and case labels with a string literal: `{ literal, other, line }`. */
function comparisonOf(node) {
  const equals = [
    K.EqualsEqualsEqualsToken,
    K.ExclamationEqualsEqualsToken,
    K.EqualsEqualsToken,
    K.ExclamationEqualsToken,
  ];
  if (ts.isCaseClause(node) && ts.isStringLiteralLike(node.expression))
    return { literal: node.expression.text, other: node.parent.parent.expression.getText() };
  if (!ts.isBinaryExpression(node) || !equals.includes(node.operatorToken.kind)) return undefined;
  const { left, right } = node;
  if (ts.isStringLiteralLike(right)) return { literal: right.text, other: left.getText() };
  if (ts.isStringLiteralLike(left)) return { literal: left.text, other: right.getText() };
  return undefined;
}

/** The classes, functions, offered booleans and comparisons of a TypeScript or JavaScript text. */
export function readTypeScript(text, file) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line + 1;
  const found = { classes: [], functions: [], offered: [], comparisons: [] };
  const visit = (node, names) => {
    const line = lineOf(node.getStart());
    let inner = names;
    if (ts.isClassLike(node) || ts.isInterfaceDeclaration(node)) {
      inner = [...names, nameOf(node) || '(unnamed)'];
      found.classes.push({ name: inner.join('.'), line, ...membersOf(node) });
    } else if (ts.isTypeAliasDeclaration(node) && ts.isTypeLiteralNode(node.type)) {
      found.classes.push({ name: [...names, nameOf(node)].join('.'), line, ...membersOf(node.type) });
    } else if (ts.isFunctionLike(node) && node.body !== undefined) {
      inner = [...names, functionName(node)];
      if (!isSuite(node))
        found.functions.push({ name: inner.join('.'), line, lines: lineOf(node.getEnd()) - line + 1 });
    }
    const comparison = comparisonOf(node);
    if (comparison !== undefined) found.comparisons.push({ ...comparison, line });
    ts.forEachChild(node, (child) => visit(child, inner));
  };
  visit(source, []);
  const listed = exportedNames(source);
  for (const statement of source.statements) {
    for (const { name, node, parameters } of offeredBy(statement, (name) => listed.has(name))) {
      const bools = boolsOf(parameters);
      if (bools.length > 0) found.offered.push({ name, line: lineOf(node.getStart()), bools });
    }
  }
  return found;
}
