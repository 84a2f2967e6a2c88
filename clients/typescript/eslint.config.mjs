import tseslint from "typescript-eslint";

/** What a program is interrupted by is no Error, on purpose. */
const interrupts = { allow: [{ from: "file", name: "Interrupt" }], allowThrowingAny: true, allowThrowingUnknown: true };

export default tseslint.config(
  { ignores: ["dist", "node_modules", "**/*.mjs", "**/*.d.mts"] },
  {
    files: ["src/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/only-throw-error": ["error", interrupts],
      "@typescript-eslint/prefer-promise-reject-errors": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowNullish: true }],
      "@typescript-eslint/unbound-method": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
    },
  },
  {
    files: ["test/**/*.ts"],
    extends: [tseslint.configs.recommended],
    rules: { "@typescript-eslint/no-unused-vars": ["error", { varsIgnorePattern: "^_" }] },
  },
);
