"""The one way in for orders: parsing, admission, bulkheads and the inbox. It knows neither HTTP nor ROS."""
