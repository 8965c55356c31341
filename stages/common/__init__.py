"""What several stages share: parameters, pictures, networks, features, folds, heads and scores."""
